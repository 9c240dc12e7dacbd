"""Read and write tickets in the file formats of this and other projects. ``FORMATS`` has every format.

>>> ticket = formats.read("checkpoint.pth.tar", hints=Hints(provenance={"dataset": "cifar100"}))
>>> formats.write(ticket, "for-the-hub", "hub")
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError

from tickets.errors import TicketError
from tickets.files.writing import beside
from tickets.files.zoo.places import in_zoo, ticket_file
from tickets.formats.format import UNKNOWN, Format, Hints
from tickets.formats.names import BUILT_IN, NameMap, built_in, read_map
from tickets.formats.projects import AUTHORS, OPEN_LTH, SPARSE, TORCH_PRUNE, TURBOPRUNE
from tickets.formats.source import NeedsHintError, Source
from tickets.formats.state_dict import normalization_layers
from tickets.formats.this_project import HUB, MASKED, PARQUET
from tickets.registry import unknown
from tickets.ticket import Ticket

__all__ = [
    "AS_THEY_ARE",
    "FORMATS",
    "UNKNOWN",
    "Format",
    "Hints",
    "NeedsHintError",
    "Reading",
    "Written",
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
AS_THEY_ARE = "none"
"""Leaves names as they are, in place of a map of names."""


class Reading(NamedTuple):
    """A ticket as read.

    Attributes:
        names: the map that translated its names; None if none did.
    """

    format: Format
    ticket: Ticket
    names: NameMap | None


class Written(NamedTuple):
    """How a ticket was written.

    Attributes:
        names: the map that translated its names; None if none did.
        with_statistics: layers with fresh running statistics.
    """

    format: Format
    names: NameMap | None
    with_statistics: Collection[str]


def named(name: str) -> Format:
    """A format by its name; TicketError, with the nearest names, if there is none."""
    if name not in FORMATS:
        raise TicketError(unknown("format", name, FORMATS))
    return FORMATS[name]


def read(path: Path | str, format: str | None = None, hints: Hints | None = None) -> Ticket:
    """Read a ticket; see ``read_with_format``."""
    return read_with_format(path, format, hints).ticket


def read_with_format(path: Path | str, format: str | None = None, hints: Hints | None = None) -> Reading:
    """Read a ticket; find its format, and the translation of its names to ours.

    Args:
        path: a file, a folder, or a ticket's place in a zoo, as ``tickets.load`` takes it.
        format: a format's name; None finds the format by content.
        hints: facts that the file does not state.

    Raises:
        NeedsHintError: the file leaves a question open; the message names the hint that answers it.
        TicketError: the file is missing, damaged, of another format, or holds more than tensors; or ``hints.names`` is
            no map of its names.
    """
    hints = hints or Hints()
    given = None if hints.names in (None, AS_THEY_ARE) else read_map(str(hints.names))
    place = ticket_file(path) if in_zoo(path) else Path(path)
    source = Source(place, None if hints.weights else hints.state)
    chosen = named(format) if format else _fitting(source)
    if format and not chosen.fits(source):
        raise TicketError(f"{path} is not {chosen.title}; it is {_fitting(source).title}")
    ticket = chosen.read(source, hints)
    names: NameMap | None = None
    if given is not None:
        names = max(given, given.inverse, key=lambda each: each.covered(ticket))
        ticket = names.translated(ticket)
    elif hints.names is None and chosen.known_names:
        names, ticket = _translated(ticket, [built_in(name) for name in BUILT_IN])
        if names is not None:
            ticket = replace(ticket, provenance=replace(ticket.provenance, architecture=names.title))
    provenance = replace(ticket.provenance, **hints.provenance)  # type: ignore[arg-type]  # names of its fields
    return Reading(chosen, replace(ticket, provenance=provenance), names)


def _translated(ticket: Ticket, maps: Iterable[NameMap]) -> tuple[NameMap | None, Ticket]:
    """The first map that fits a ticket, and the ticket by that map; None and the ticket itself if none fits."""
    for names in maps:
        with suppress(TicketError):
            return names, names.translated(ticket)
    return None, ticket


def write(
    ticket: Ticket,
    path: Path | str,
    format: str | None = None,
    *,
    names: str | None = None,
    statistics: bool | None = None,
    force: bool = False,
) -> Written:
    """Write a ticket, to a temporary place, read back, compared, and only then renamed.

    Args:
        format: a format's name; None goes by the path's extension.
        names: "none" keeps our names; None translates them to those that the format's networks have, if it has any.
        statistics: whether normalization layers have running statistics, which state dicts then hold as a fresh batch
            norm has them; None decides for each layer, as ``normalization_layers`` does.
        force: replace an existing file or folder of the same kind.

    Raises:
        TicketError: the format cannot hold this ticket, or the path exists; nothing is written then.
    """
    path = Path(path)
    chosen = named(format) if format else _by_name(path)
    if chosen.keeps_provenance and statistics is not None:
        raise TicketError(f"{chosen.title} holds no running statistics; leave --statistics and --no-statistics out")
    translation: NameMap | None = None
    if names is None and chosen.known_names:
        translation, ticket = _translated(ticket, [built_in(name).inverse for name in BUILT_IN])
    layers: Collection[str] = ()
    if statistics is not False and not chosen.keeps_provenance:
        layers = normalization_layers(ticket, batch_norms=statistics is None)

    def make(place: Path) -> None:
        chosen.write(ticket, place, layers)
        _same(ticket, chosen.read(Source(place), Hints()), chosen)

    placed(path, make, force=force)
    return Written(chosen, translation, layers)


def _other_names(path: Path, new: Path) -> list[str]:
    names = {each.name for each in new.iterdir()} if new.is_dir() else set()
    return sorted(each.name for each in path.iterdir() if each.name not in names)


def placed(
    path: Path,
    make: Callable[[Path], object],
    *,
    force: bool = False,
    lost: Callable[[Path, Path], Sequence[str]] = _other_names,
) -> None:
    """Write a file or a folder of files under a temporary name, and rename it.

    Args:
        make: writes to the path that it is given, which ends as the final name does.
        force: replace an existing file, or an existing folder that holds nothing which would be lost.
        lost: what a folder holds that its new version must not remove; by default, files of other names.

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
            _replace_folder(path, temporary, lost)
        elif path.exists() and temporary.is_dir():
            raise TicketError(f"{path} is a file, and a folder cannot replace it; give another name")
        else:
            temporary.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors raise their own for a full disk
        raise TicketError(f"{path} cannot be written: {error}") from error
    finally:
        _remove(temporary)


def _replace_folder(path: Path, new: Path, lost: Callable[[Path, Path], Sequence[str]]) -> None:
    if names := lost(path, new):
        raise TicketError(f"{path} holds {names[0]}, which would be lost; give another name")
    old = new.with_name(f"{new.name}.old")
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise
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
