"""Read and write tickets in the file formats of this and other projects. ``FORMATS`` has every format.

>>> ticket = formats.read("checkpoint.pth.tar", hints=Hints(provenance={"dataset": "cifar100"}))
>>> formats.write(ticket, "for-the-hub", "hub")
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError

from tickets.errors import TicketError
from tickets.files.writing import beside
from tickets.formats.format import UNKNOWN, Format, Hints
from tickets.formats.projects import AUTHORS, OPEN_LTH, SPARSE, TORCH_PRUNE, TURBOPRUNE
from tickets.formats.source import NeedsHintError, Source
from tickets.formats.this_project import HUB, MASKED, PARQUET
from tickets.registry import unknown
from tickets.ticket import Ticket

__all__ = [
    "FORMATS",
    "UNKNOWN",
    "Format",
    "Hints",
    "NeedsHintError",
    "named",
    "placed",
    "read",
    "read_with_format",
    "write",
]

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
    hints = hints or Hints()
    source = Source(Path(path), None if hints.weights else hints.state)
    chosen = named(format) if format else _fitting(source)
    if format and not chosen.fits(source):
        raise TicketError(f"{path} is not {chosen.title}; it is {_fitting(source).title}")
    ticket = chosen.read(source, hints)
    provenance = replace(ticket.provenance, **hints.provenance)  # type: ignore[arg-type]  # names of its fields
    return chosen, replace(ticket, provenance=provenance)


def write(ticket: Ticket, path: Path | str, format: str | None = None, *, force: bool = False) -> Format:
    """Write a ticket, to a temporary place, read back, compared, and only then renamed; return its format.

    Args:
        format: a format's name; None goes by the path's extension.
        force: replace an existing file or folder of the same kind.

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


def placed(path: Path, make: Callable[[Path], object], *, force: bool = False) -> None:
    """Write a file or a folder of files under a temporary name, and rename it.

    Args:
        make: writes to the path that it is given, which ends as the final name does.
        force: replace an existing file, or an existing folder that holds only files of the same names.

    Raises:
        TicketError: the path exists or cannot be written; it is then unchanged.
    """
    if not path.parent.is_dir():
        raise TicketError(f"{path.parent} is no folder; create it first")
    if path.exists() and not force:
        raise TicketError(f"{path} exists; give another name, or --force to replace it")
    temporary = beside(path)
    try:
        make(temporary)
        if path.is_dir():
            _replace_folder(path, temporary)
        elif path.exists() and temporary.is_dir():
            raise TicketError(f"{path} is a file, and a folder cannot replace it; give another name")
        else:
            temporary.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors raise their own for a full disk
        raise TicketError(f"{path} cannot be written: {error}") from error
    finally:
        _remove(temporary)


def _replace_folder(path: Path, new: Path) -> None:
    names = {each.name for each in new.iterdir()} if new.is_dir() else set()
    lost = sorted(each.name for each in path.iterdir() if each.name not in names)
    if lost:
        raise TicketError(f"{path} holds {lost[0]}, which would be lost; give another name")
    old = new.with_name(f"{new.name}.old")
    path.rename(old)
    new.rename(path)
    shutil.rmtree(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
