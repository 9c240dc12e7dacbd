"""Storage in a folder on a local or mounted file system."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tickets.files.reading import MOST_BYTES, UnreadableFileError, check_regular, kind_of, read_regular
from tickets.files.writing import replacing, write_atomically
from workers.storage.base import Entry, StorageError


class Folder:
    """A folder on a local or mounted file system.

    The root may be a link. Below it, nothing is read or written through a link that leads out of the root.
    """

    def __init__(self, root: str | Path) -> None:
        self.folder = Path(root).absolute()
        self.root = str(self.folder)
        self._real_root = os.path.realpath(self.folder)

    def _place(self, path: str) -> Path:
        """A file's place; StorageError if the path leads out of the root, since paths may come from records."""
        if path.startswith("/") or ".." in path.split("/"):
            raise StorageError(f"{path!r} is no path in {self.root}")
        return self.folder / path

    def _at(self, path: str) -> Path:
        """A file's place to write, rename or remove: its folder, with links resolved, lies in the root.

        Raises:
            StorageError: the path itself leads out of the root.
            UnreadableFileError: a link on the way leads out of the root.
        """
        place = self._place(path)
        self._check_inside(place.parent)
        return place

    def _prepared(self, path: str) -> Path:
        """A file's place to write, in a folder that exists from now on.

        Raises:
            UnreadableFileError: as ``_at``; or something else stands in the place of a folder.
        """
        place = self._at(path)
        try:
            if not place.parent.is_dir():
                place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.ELOOP):
                raise UnreadableFileError(f"{error.filename} is no folder; move away what stands there") from error
            raise
        return place

    def _check_inside(self, place: Path) -> None:
        real, root = os.path.realpath(place), self._real_root
        if real != root and not real.startswith(root.rstrip("/") + "/"):
            raise UnreadableFileError(f"{place} leads out of the store, to {real}; remove the link")

    def inside(self, path: str) -> Path:
        """A folder's or file's place; UnreadableFileError if a link on the way leads out of the root."""
        place = self._place(path)
        self._check_inside(place)
        return place

    def locate(self, path: str) -> Path:
        """A regular file's place to read; FileNotFoundError if it does not exist.

        Raises:
            UnreadableFileError: the path is no regular file, or a link that leads out of the root.
        """
        place = self.inside(path)
        check_regular(place)
        return place

    def read(self, path: str, most_bytes: int = MOST_BYTES, *, end: bool = False) -> bytes:
        return read_regular(self.inside(path), most_bytes, end=end)

    def write(self, path: str, content: bytes, *, durable: bool = True) -> None:
        write_atomically(self._prepared(path), content, durable=durable)

    def append(self, path: str, content: bytes) -> None:
        target = self._prepared(path)
        self._check_inside(target)
        if target.exists():
            check_regular(target)
        with target.open("ab") as file:
            file.write(content)

    def create(self, path: str, content: bytes, *, durable: bool = True) -> None:
        write_atomically(self._prepared(path), content, exclusive=True, durable=durable)

    def exists(self) -> bool:
        return self.folder.is_dir()

    def listing(self, prefix: str = "") -> dict[str, Entry]:
        files: dict[str, Entry] = {}
        for path, entry in self._walk(prefix):
            try:
                status = _status(entry)
            except FileNotFoundError:  # removed meanwhile
                continue
            files[path] = Entry(status.st_size, f"{status.st_mtime_ns}", status.st_mtime)
        return files

    def irregular(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for path, entry in self._walk("", skipped=found):
            with suppress(FileNotFoundError):
                mode = _status(entry).st_mode
                if entry.is_symlink() and not self._leads_inside(Path(entry.path)):
                    found[path] = "is a link that leads out of the store"
                elif stat.S_ISLNK(mode):
                    found[path] = "is a link that leads nowhere"
                elif not stat.S_ISREG(mode):
                    found[path] = f"is {kind_of(mode)}"
        return found

    def _walk(self, prefix: str, skipped: dict[str, str] | None = None) -> Iterable[tuple[str, os.DirEntry[str]]]:
        """Yield everything but folders by path; ``skipped`` receives what can have no path, and why.

        A link to a folder inside the root is followed once; a link that leads out is yielded as what it is.
        """
        start = self._at(prefix) if prefix else self.folder
        pending, followed = [str(start)] if self._leads_inside(start) else [], set[str]()
        cut = len(self.root.rstrip("/")) + 1
        while pending:
            for entry in _entries(pending.pop()):
                path = entry.path[cut:]
                if not _is_text(path):
                    if skipped is not None:
                        skipped[os.fsencode(path).decode(errors="backslashreplace")] = "has a name that is not UTF-8"
                elif entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.is_symlink() and _is_folder(entry) and self._leads_inside(Path(entry.path)):
                    real = os.path.realpath(entry.path)
                    above = Path(os.path.realpath(Path(entry.path).parent)).is_relative_to(real)  # a loop
                    if real not in followed and not above:
                        followed.add(real)
                        pending.append(entry.path)
                elif not entry.name.startswith("."):  # hidden files are being written
                    yield path, entry

    def _leads_inside(self, place: Path) -> bool:
        try:
            self._check_inside(place)
        except UnreadableFileError:
            return False
        return True

    def upload(self, source: Path, path: str) -> None:
        with replacing(self._prepared(path)) as partial:
            shutil.copyfile(source, partial)

    def download(self, path: str, target: Path) -> None:
        shutil.copyfile(self.locate(path), target)

    def move(self, path: str, to: str) -> None:
        self._at(path).rename(self._prepared(to))

    def remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            with suppress(IsADirectoryError):  # a folder in a file's place: verify sets it aside
                self._at(path).unlink(missing_ok=True)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    """The status of what an entry leads to, or of the link itself if it leads nowhere."""
    try:
        return entry.stat()
    except OSError:
        return entry.stat(follow_symlinks=False)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):
        return entry.is_dir()
    return False


def _is_text(path: str) -> bool:
    """Whether a path can be written in UTF-8, as every file of the store is."""
    if path.isascii():
        return True
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
