"""The interface of a file format, and hints for files that leave questions open."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from tickets.formats.source import Source
from tickets.ticket import Ticket

UNKNOWN = "unknown"
"""Text of a provenance field that a file does not state."""


@dataclass(frozen=True)
class Hints:
    """Facts about a ticket that its file does not state.

    Attributes:
        weights: a state dict with the signs, for formats with masks only.
        classifier: name of the classifier's layer, or "none" if every weight may be pruned; None infers the layer.
        state: which of the state dicts in a checkpoint is meant, by its keys, as in "ema"; None if there is only one.
            With ``weights``, it is one in that file.
        names: the translation of names: a built-in map, a file with one, or "none"; None picks a built-in map for
            formats whose networks are known.
        provenance: fields of ``Provenance`` that replace those of the file.
    """

    weights: Path | None = None
    classifier: str | None = None
    state: str | None = None
    names: str | None = None
    provenance: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """A file format of tickets.

    Attributes:
        title: a noun phrase for messages, such as "a state dict of TurboPrune".
        extensions: endings of new files' names, "" for a folder. An ending that several formats share chooses none.
        fits: whether a file's content is of this format.
        read: read a ticket; raises TicketError for a damaged or contradictory file.
        write: write a ticket to a path that does not exist, with fresh running statistics for the named layers, which
            formats that keep the provenance ignore.
        cannot_hold: the parts of a ticket that are lost, and the tickets that are refused.
        keeps_provenance: whether the format holds the provenance.
        trained: read the parameters and running statistics of a file that has trained values beside its masks, by
            their usual names; None for formats without.
        known_names: whether files have the names of the released code's networks, which the built-in maps translate.
    """

    name: str
    title: str
    extensions: tuple[str, ...]
    fits: Callable[[Source], bool]
    read: Callable[[Source, Hints], Ticket]
    write: Callable[[Ticket, Path, Collection[str]], None]
    cannot_hold: str
    keeps_provenance: bool = False
    known_names: bool = False
    trained: Callable[[Source], Mapping[str, Tensor]] | None = None
