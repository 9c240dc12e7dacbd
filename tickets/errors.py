"""The error of tickets."""


class TicketError(ValueError):
    """A ticket cannot be read or does not fit a model; the message names the tensor."""
