"""The one error of this room."""


class TicketError(ValueError):
    """A ticket that cannot be read, or does not fit a model; the message names the tensor."""
