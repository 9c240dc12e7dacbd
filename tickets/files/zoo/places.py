"""Find tickets in zoos: ``zoo:FOLDER/NAME`` on this machine, ``hub:OWNER/REPOSITORY/NAME`` in a hub.

NAME is a ticket's name, the end of one, a pattern, or the beginning of a key; without it, all tickets are meant. Every
file is compared with the zoo's digests each time that it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tickets.errors import TicketError
from tickets.files import digest
from tickets.files.home import expanded
from tickets.files.stages import AT_MOST, is_selected
from tickets.files.zoo.hub import Repository
from tickets.files.zoo.index import INDEX, SUMS, Entry, read_index, read_sums

ZOO, HUB = "zoo:", "hub:"


class NoTicketError(TicketError):
    """A place names no ticket, or several where one is meant, or no zoo; no file is at fault."""


class Zoo(Protocol):
    """Where a zoo's files lie."""

    @property
    def title(self) -> str:
        """The zoo's place, as a user gives it."""

    def local(self, path: str) -> Path:
        """Return a file of the zoo on this machine; TicketError if the zoo lacks it or it cannot be had."""


@dataclass(frozen=True)
class FolderZoo:
    """A zoo in a folder."""

    folder: Path

    @property
    def title(self) -> str:
        return f"{ZOO}{self.folder}"

    def local(self, path: str) -> Path:
        file = self.folder / path
        if not file.exists():
            raise TicketError(f"{self.title} lacks {path}; publish it anew, or copy it again from its source")
        return file


@dataclass(frozen=True)
class Kept:
    """A ticket in a zoo.

    Attributes:
        place: for messages.
        file: on this machine; its digest is right.
        chosen: whether a name meant it, rather than the whole zoo.
    """

    place: str
    entry: Entry
    file: Path
    chosen: bool


def in_zoo(place: Path | str) -> bool:
    """Whether a place is in a zoo, by how it begins."""
    return str(place).startswith((ZOO, HUB))


def is_zoo(folder: Path) -> bool:
    """Whether a folder is a zoo, by its files."""
    return (folder / INDEX).is_file() and (folder / SUMS).is_file()


def zoo_name(place: str) -> str:
    """The last part of a zoo's own name, of its folder or repository; of the whole place, if there is no such folder.

    Raises:
        TicketError: the place names no repository.
    """
    if place.startswith(HUB):
        return Repository.parse(place.removeprefix(HUB))[0].name.rpartition("/")[2]
    folder = _folder(place)
    return (folder or expanded(place.removeprefix(ZOO))).resolve().name


def is_reachable(place: str) -> bool:
    """Whether the zoo itself can be read now: the folder is there, or the repository, online or in the cache."""
    with suppress(TicketError):
        zoo, _ = _opened(place)
        zoo.local(SUMS)
        return True
    return False


def kept(place: str, most: int) -> Iterator[Kept]:
    """Yield the tickets at a place in a zoo, by name, each with its checked file.

    Raises:
        TicketError: there is no such zoo or ticket, there are more than ``most``, a file cannot be had, or it is not
            the one that the zoo lists.
    """
    zoo, name = _opened(place)
    found = _selected(zoo, name)
    if len(found) > most:
        raise TicketError(f"{len(found):,} tickets, and at most {most:,} are read; name fewer")
    for entry in found:
        yield Kept(f"{zoo.title}/{entry.name}", entry, _checked(zoo, entry.path, entry.sha256), bool(name))


def ticket_file(place: Path | str) -> Path:
    """Return the file of the one ticket at a place in a zoo.

    Raises:
        NoTicketError: there is no such zoo or ticket, or several tickets are at this place, which the message lists.
        TicketError: a file cannot be had, or it is not the one that the zoo lists.
    """
    zoo, name = _opened(str(place))
    found = _selected(zoo, name)
    if len(found) > 1:
        names = [entry.name for entry in found]
        shown = [entry.key if names.count(entry.name) > 1 else entry.name for entry in found]
        more = f" or one of {len(shown) - AT_MOST} more" if len(shown) > AT_MOST else ""
        raise NoTicketError(f"{place}: {len(found)} tickets match; choose {' or '.join(shown[:AT_MOST])}{more}")
    return _checked(zoo, found[0].path, found[0].sha256)


def faults(folder: Path) -> list[str]:
    """Compare all files of a zoo's folder with its digests; a sentence for each that is missing or differs."""
    zoo, sentences = FolderZoo(folder), list[str]()
    try:
        sums = read_sums(folder / SUMS)
        if INDEX not in sums:
            sentences.append(f"{folder}: {SUMS} has no digest of {INDEX}")
        for path, sha256 in sums.items():
            try:
                _checked(zoo, path, sha256)
            except TicketError as error:
                sentences.append(str(error))
        if not sentences:
            entries = read_index(folder / INDEX)
            unlike = [entry.path for entry in entries if sums.get(entry.path) != entry.sha256]
            sentences += [f"{folder}: {INDEX} and {SUMS} have different digests of {path}" for path in unlike]
    except (OSError, TicketError) as error:
        sentences.append(f"{folder}: {error}")
    return sentences


def _opened(place: str) -> tuple[FolderZoo | Repository, str]:
    """Split a place into its zoo and the name within it."""
    if place.startswith(HUB):
        return Repository.parse(place.removeprefix(HUB))
    folder, path = _folder(place), expanded(place.removeprefix(ZOO))
    if folder is None:
        raise NoTicketError(
            f"{place}: no folder of this path is a zoo, with {INDEX} and {SUMS}; winning-sign tickets publish makes one"
        )
    return FolderZoo(folder), path.relative_to(folder).as_posix().removeprefix(".")


def _folder(place: str) -> Path | None:
    """The deepest folder of a path that is a zoo."""
    path = expanded(place.removeprefix(ZOO))
    return next((folder for folder in [path, *path.parents] if is_zoo(folder)), None)


def _selected(zoo: Zoo, name: str) -> list[Entry]:
    entries = _entries(zoo)
    found = [entry for entry in entries if not name or is_selected(entry.name, entry.key, name)]
    if not found:
        raise NoTicketError(f"{zoo.title} has no ticket {name!r}; it has {_some(entry.name for entry in entries)}")
    return sorted(found, key=lambda entry: (entry.name, entry.key))


def _entries(zoo: Zoo) -> list[Entry]:
    sums, index = zoo.local(SUMS), zoo.local(INDEX)
    try:
        _checked(zoo, INDEX, read_sums(sums).get(INDEX, ""))
        return read_index(index)
    except OSError as error:
        raise TicketError(f"{zoo.title}: {error}") from error


def _checked(zoo: Zoo, path: str, sha256: str) -> Path:
    """Return a file of a zoo on this machine; TicketError unless it is the one with this digest."""
    try:
        file = zoo.local(path)
        if digest.sha256_of_file(file) == sha256:
            return file
    except OSError as error:
        raise TicketError(f"{zoo.title}: {path} cannot be read: {error}") from error
    raise TicketError(f"{file} is not the file that {zoo.title} lists: its SHA-256 differs; remove it and get it again")


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - AT_MOST} more" if len(listed) > AT_MOST else ""
    return ", ".join(listed[:AT_MOST]) + more
