"""Storage in a folder on a local or mounted file system."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tickets.files.writing import replacing, write_atomically
from workers.storage.base import Entry, StorageError


class Folder:
    """A folder on a local or mounted file system."""

    def __init__(self, root: str | Path) -> None:
        self.folder = Path(root).absolute()
        self.root = str(self.folder)

    def _at(self, path: str) -> Path:
        """A file's place; StorageError if the path leads out of the root, since paths may come from records."""
        if path.startswith("/") or ".." in path.split("/"):
            raise StorageError(f"{path!r} is no path in {self.root}")
        return self.folder / path

    def read(self, path: str) -> bytes:
        return self._at(path).read_bytes()

    def write(self, path: str, content: bytes) -> None:
        write_atomically(self._at(path), content)

    def append(self, path: str, content: bytes) -> None:
        target = self._at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("ab") as file:
            file.write(content)

    def create(self, path: str, content: bytes) -> None:
        write_atomically(self._at(path), content, exclusive=True)

    def exists(self) -> bool:
        return self.folder.is_dir()

    def listing(self, prefix: str = "") -> dict[str, Entry]:
        files: dict[str, Entry] = {}
        pending = [str(self._at(prefix))]
        cut = len(self.root) + 1
        while pending:
            for entry in _entries(pending.pop()):
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif not entry.name.startswith("."):  # hidden files are being written
                    with suppress(FileNotFoundError):  # removed meanwhile
                        status = entry.stat()
                        files[entry.path[cut:]] = Entry(status.st_size, f"{status.st_mtime_ns}", status.st_mtime)
        return files

    def upload(self, source: Path, path: str) -> None:
        target = self._at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial:
            shutil.copyfile(source, partial)

    def download(self, path: str, target: Path) -> None:
        shutil.copyfile(self._at(path), target)

    def move(self, path: str, to: str) -> None:
        source, target = self._at(path), self._at(to)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)

    def remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._at(path).unlink(missing_ok=True)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
