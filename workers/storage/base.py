"""What a store's files can do, wherever they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class StorageError(OSError):
    """A bucket that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Entry:
    """A file as a listing tells it.

    Attributes:
        version: changes when the content does.
        modified_unix_s: when it was written last, by the clock of whoever keeps the files; None if a listing did not
            tell. For a person to read: nothing is decided by it.
    """

    size_bytes: int
    version: str
    modified_unix_s: float | None = field(default=None, compare=False)


class Storage(Protocol):
    """Files under one root.

    Attributes:
        root: as the user writes it: an absolute path, or a URL.
        folder: the root as a folder of this machine; None for a bucket.
    """

    root: str

    @property
    def folder(self) -> Path | None: ...

    def read(self, path: str) -> bytes:
        """A file's content; FileNotFoundError if it is not there."""

    def write(self, path: str, content: bytes) -> None:
        """Write or replace a file."""

    def append(self, path: str, content: bytes) -> None:
        """Add to the end of a file, or create it; a bucket cannot: StorageError."""

    def create(self, path: str, content: bytes) -> None:
        """Write a file unless it is there: of all who try, one succeeds and the others get FileExistsError."""

    def exists(self) -> bool:
        """Whether the folder is there, or anything is in the bucket's."""

    def listing(self, prefix: str = "") -> dict[str, Entry]:
        """All files in a folder and the folders in it, by path."""

    def upload(self, source: Path, path: str) -> None:
        """Copy a file of this machine into the store."""

    def download(self, path: str, target: Path) -> None:
        """Copy a file of the store to this machine; FileNotFoundError if it is not there."""

    def move(self, path: str, to: str) -> None:
        """Give a file another path; FileNotFoundError if it is not there."""

    def remove(self, paths: Iterable[str]) -> None:
        """Delete files; what is not there is passed over."""
