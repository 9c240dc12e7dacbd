"""What a format of tickets is, and what its files may leave open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from tickets.errors import TicketError
from tickets.formats.source import Source
from tickets.signed import SignedTensor
from tickets.ticket import Provenance, Ticket

UNKNOWN = "unknown"
"""A text of the provenance that a file does not tell."""


class NeedsHintError(TicketError):
    """A file that is whole, but leaves something open that a hint has to say; the message names the hint."""


@dataclass(frozen=True)
class Hints:
    """What a file does not say of its ticket.

    Attributes:
        weights: a state dict with the signs, for a format that has masks only.
        classifier: name of the classifier's layer, or "none" if every weight may be pruned; None infers it.
        provenance: fields of ``Provenance`` that replace what the file says.
    """

    weights: Path | None = None
    classifier: str | None = None
    provenance: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """A way to write a ticket down.

    Attributes:
        extensions: with which a new file's name tells its format, "" for a folder; shared ones tell nothing.
        fits: whether a file is of this format, by its content.
        read: raises TicketError for a file that is damaged or contradicts itself.
        write: to a path where nothing is.
        cannot_hold: what is lost, and what is refused.
        keeps_provenance: whether it says where a ticket comes from.
    """

    name: str
    title: str
    extensions: tuple[str, ...]
    fits: Callable[[Source], bool]
    read: Callable[[Source, Hints], Ticket]
    write: Callable[[Ticket, Path], None]
    cannot_hold: str
    keeps_provenance: bool = False


def new_ticket(tensors: Mapping[str, SignedTensor], hints: Hints) -> Ticket:
    """The ticket of a file that does not say where it comes from: all that is not hinted is unknown."""
    told = {f.name: UNKNOWN for f in fields(Provenance)} | {"round": None, "density": 0.0} | dict(hints.provenance)
    ticket = Ticket(tensors, Provenance(**told))  # type: ignore[arg-type]  # the hints' names are its fields'
    return Ticket(tensors, Provenance(**{**told, "density": ticket.density if ticket.masks else 0.0}))  # type: ignore[arg-type]
