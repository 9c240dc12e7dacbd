"""Read and write tickets in the file formats of this and other projects. ``FORMATS`` has every format.

>>> ticket = formats.read("checkpoint.pth.tar", hints=Hints(provenance={"dataset": "cifar100"}))
>>> formats.write(ticket, "for-the-hub", "hub")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tickets.errors import TicketError
from tickets.formats.format import UNKNOWN, Format, Hints, NeedsHintError
from tickets.formats.hub import HUB
from tickets.formats.open_lth import OPEN_LTH
from tickets.formats.placing import placed
from tickets.formats.source import Source
from tickets.formats.state_dicts import AUTHORS, SPARSE, TORCH_PRUNE, TURBOPRUNE
from tickets.formats.this_project import MASKED, PARQUET
from tickets.registry import unknown
from tickets.ticket import Ticket

__all__ = ["FORMATS", "UNKNOWN", "Format", "Hints", "NeedsHintError", "named", "read", "read_with_format", "write"]

FORMATS: Mapping[str, Format] = {
    each.name: each for each in (PARQUET, MASKED, HUB, AUTHORS, TORCH_PRUNE, OPEN_LTH, TURBOPRUNE, SPARSE)
}
"""Formats by name. A file is read in the first format that fits, so the most specific formats come first."""


def named(name: str) -> Format:
    """A format by its name; TicketError, with the nearest names, if there is none."""
    if name not in FORMATS:
        raise TicketError(unknown("format", name, FORMATS))
    return FORMATS[name]


def read(path: Path | str, format: str | None = None, hints: Hints | None = None) -> Ticket:
    """Read a ticket; see ``read_with_format``."""
    return read_with_format(path, format, hints)[1]


def read_with_format(path: Path | str, format: str | None = None, hints: Hints | None = None) -> tuple[Format, Ticket]:
    """Read a ticket and find its format.

    Args:
        format: a format's name; None finds the format by content.
        hints: facts that the file does not state.

    Raises:
        NeedsHintError: the file leaves a question open; the message names the hint that answers it.
        TicketError: the file is missing, damaged, of another format, or holds more than tensors.
    """
    source = Source(Path(path))
    chosen = named(format) if format else _fitting(source)
    if format and not chosen.fits(source):
        raise TicketError(f"{path} is not {chosen.title}; it is {_fitting(source).title}")
    hints = hints or Hints()
    ticket = chosen.read(source, hints)
    provenance = replace(ticket.provenance, **hints.provenance)  # type: ignore[arg-type]  # names of its fields
    return chosen, replace(ticket, provenance=provenance)


def write(ticket: Ticket, path: Path | str, format: str | None = None, *, force: bool = False) -> Format:
    """Write a ticket: to a temporary place, read back, compared, and only then renamed.

    Args:
        format: a format's name; None goes by the path's extension.
        force: replace an existing file or folder of the same kind.

    Returns:
        The format.

    Raises:
        TicketError: the format cannot hold this ticket, or the path exists; nothing is written then.
    """
    path = Path(path)
    chosen = named(format) if format else _by_name(path)

    def make(place: Path) -> None:
        chosen.write(ticket, place)
        _same(ticket, chosen.read(Source(place), Hints()), chosen)

    placed(path, make, force=force)
    return chosen


def _fitting(source: Source) -> Format:
    for each in FORMATS.values():
        if each.fits(source):
            return each
    raise TicketError(f"{source.path} is of no known format; the formats are {', '.join(FORMATS)}")


def _by_name(path: Path) -> Format:
    fitting = [f for f in FORMATS.values() if any(e and path.name.endswith(e) for e in f.extensions)]
    if not path.suffix:
        fitting = [f for f in FORMATS.values() if "" in f.extensions]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(f.name for f in fitting or FORMATS.values())
    raise TicketError(f"{path}: its name does not tell the format; choose one of {names} with --to")


def _same(ticket: Ticket, back: Ticket, chosen: Format) -> None:
    for name, tensor in ticket.tensors.items():
        if back.tensors.get(name) != tensor:
            read_as = back.tensors[name].role if name in back.tensors else "nothing"
            raise TicketError(
                f"{name}: {chosen.title} cannot hold this {tensor.role} tensor (it would be read back as {read_as}); "
                f"write parquet or safetensors"
            )
    if set(back.tensors) != set(ticket.tensors) or (chosen.keeps_provenance and back.provenance != ticket.provenance):
        raise TicketError(f"{chosen.title} cannot hold this ticket; write parquet or safetensors")
