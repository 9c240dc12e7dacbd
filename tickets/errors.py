"""The errors of tickets."""


class TicketError(ValueError):
    """A ticket cannot be read or does not fit a model; the message names the tensor."""


class NeedsHintError(TicketError):
    """An intact file leaves a question open; the message names the hint that answers it."""
