"""The interface of a store's storage, and reading of many files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tickets.files.reading import MOST_BYTES, UnreadableFileError
from tickets.files.writing import replacing

PARALLEL_REQUESTS = 32  # a bucket answers slowly, but many requests at a time


class StorageError(OSError):
    """A storage cannot be used; the message names the remedy."""


class NoBucketError(StorageError):
    """There is no such bucket."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a listing.

    Attributes:
        version: changes when the content changes.
        modified_unix_s: time of the last write, by the storage's clock; None if the listing lacks it. For people to
            read: no decision depends on it.
    """

    size_bytes: int
    version: str
    modified_unix_s: float | None = field(default=None, compare=False)


class Storage(Protocol):
    """Files under one root.

    Attributes:
        root: an absolute path, or a URL.
        folder: the root as a local folder; None for a bucket.
    """

    root: str

    @property
    def folder(self) -> Path | None: ...

    def read(self, path: str, most_bytes: int = MOST_BYTES, *, end: bool = False) -> bytes:
        """Read a file; FileNotFoundError if it does not exist.

        Args:
            end: of a file larger than ``most_bytes``, read the end instead of refusing it.

        Raises:
            UnreadableFileError: the file is larger, or no regular file, or a link leads from it out of the root.
        """

    def write(self, path: str, content: bytes, *, durable: bool = True) -> None:
        """Write or replace a file.

        Args:
            durable: wait until the disk has the content, so that it outlives a power cut; a bucket always does.
        """

    def append(self, path: str, content: bytes) -> None:
        """Add to the end of a file, or create it; a bucket cannot: StorageError."""

    def create(self, path: str, content: bytes, *, durable: bool = True) -> None:
        """Write a new file: of several callers, one succeeds and the others get FileExistsError.

        Args:
            durable: as in ``write``.
        """

    def exists(self) -> bool:
        """Whether the folder exists, or the bucket holds a file under the root."""

    def listing(self, prefix: str = "") -> dict[str, Entry]:
        """All files below a folder, by path; also those that can only be moved or removed, such as named pipes."""

    def irregular(self) -> dict[str, str]:
        """What below the root can be no file of a store, such as a link that leads out: path -> what is wrong."""

    def upload(self, source: Path, path: str) -> None:
        """Copy a local file into the store."""

    def download(self, path: str, target: Path) -> None:
        """Copy a file of the store to a local path; FileNotFoundError if it does not exist."""

    def move(self, path: str, to: str) -> None:
        """Give a file another path; FileNotFoundError if it does not exist."""

    def remove(self, paths: Iterable[str]) -> None:
        """Delete files; missing ones are skipped."""


def read_many(
    storage: Storage,
    paths: Sequence[str],
    unreadable: dict[str, str] | None = None,
    *,
    most_bytes: int = MOST_BYTES,
    end: bool = False,
) -> dict[str, bytes]:
    """Read files by path, in order, without the missing ones and those that must not be read.

    Args:
        unreadable: receives a sentence for each file that must not be read, by its path.
        most_bytes, end: as in ``Storage.read``.
    """

    def read(path: str) -> bytes | None:
        try:
            return storage.read(path, most_bytes, end=end)
        except FileNotFoundError:
            return None
        except UnreadableFileError as error:
            if unreadable is not None:
                unreadable[path] = str(error)
            return None

    if storage.folder is not None:
        contents = [read(path) for path in paths]
    else:
        with ThreadPoolExecutor(PARALLEL_REQUESTS) as threads:
            contents = list(threads.map(read, paths))
    return {path: content for path, content in zip(paths, contents, strict=True) if content is not None}


def download_many(storage: Storage, files: Sequence[tuple[str, Path]], missing: dict[str, str] | None = None) -> None:
    """Copy files to local paths; each file appears whole.

    Args:
        missing: receives a sentence for each file that does not exist, by its path; without it FileNotFoundError.
    """

    def download(file: tuple[str, Path]) -> None:
        path, target = file
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with replacing(target) as partial:
                storage.download(path, partial)
        except FileNotFoundError:
            if missing is None:
                raise
            missing[path] = f"{storage.root}/{path} is missing"

    with ThreadPoolExecutor(PARALLEL_REQUESTS) as threads:
        for _ in threads.map(download, files):
            pass
