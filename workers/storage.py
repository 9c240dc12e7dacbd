"""Where a store's files are: a folder on a local or mounted file system, or a bucket. One small interface for both.

Paths are relative to the store's root, with slashes. A reader of a file sees all of it or none of it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

BUCKETS = ("s3", "gs", "az")
NO_HARD_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)
PARALLEL_REQUESTS = 32
LISTING_PAUSES_S = (0.2, 1.0, 5.0, 20.0)
PATIENCE = timedelta(minutes=5)  # an object store's 5xx are retried for so long


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


def is_bucket(root: str | Path) -> bool:
    """Whether this names a bucket."""
    return isinstance(root, str) and urlsplit(root).scheme in BUCKETS


def open_storage(root: str | Path) -> Storage:
    """The storage of a folder, or of ``s3://bucket/path``, ``gs://bucket/path`` or ``az://container/path``.

    Raises:
        StorageError: no such kind of URL, or its client cannot be made.
    """
    if is_bucket(root):
        return Bucket(str(root))
    if re.match(r"[a-z][a-z0-9+]+:/", str(root)):  # one slash: what a Path makes of two
        known = ", ".join(f"{scheme}://" for scheme in BUCKETS)
        raise StorageError(f"{root}: a store is a folder, or a URL that begins with one of {known}")
    return Folder(root)


class Folder:
    """A folder on a local or mounted file system."""

    def __init__(self, root: str | Path) -> None:
        self.folder = Path(root).absolute()
        self.root = str(self.folder)

    def _at(self, path: str) -> Path:
        """Where a file is; no path, whoever wrote it, leads out of the root."""
        if path.startswith("/") or ".." in path.split("/"):
            raise StorageError(f"{path!r} is no path in {self.root}")
        return self.folder / path

    def read(self, path: str) -> bytes:
        return self._at(path).read_bytes()

    def write(self, path: str, content: bytes) -> None:
        write_atomically(self._at(path), content)

    def create(self, path: str, content: bytes) -> None:
        write_atomically(self._at(path), content, exclusive=True)

    def exists(self) -> bool:
        return self.folder.is_dir()

    def listing(self, prefix: str = "") -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        pending = [str(self._at(prefix))]
        cut = len(self.root) + 1
        while pending:
            try:
                with os.scandir(pending.pop()) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
                        elif not entry.name.startswith("."):  # being written
                            status = entry.stat()
                            found[entry.path[cut:]] = Entry(status.st_size, f"{status.st_mtime_ns}", status.st_mtime)
            except (FileNotFoundError, NotADirectoryError):
                continue  # removed meanwhile
        return found

    def upload(self, source: Path, path: str) -> None:
        target = self._at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}")
        shutil.copyfile(source, partial)
        partial.replace(target)

    def download(self, path: str, target: Path) -> None:
        shutil.copyfile(self._at(path), target)

    def move(self, path: str, to: str) -> None:
        source, target = self._at(path), self._at(to)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)

    def remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._at(path).unlink(missing_ok=True)


class Bucket:
    """A bucket of an object store that can write conditionally (``If-None-Match``): S3, GCS, Azure.

    Credentials come from the environment, the machine's identity or, where boto3 is installed, an AWS profile.
    """

    folder = None

    def __init__(self, root: str) -> None:
        import obstore.store  # here: whoever keeps stores in folders needs no object store's client
        from obstore.exceptions import AlreadyExistsError, BaseError

        self.root = root.rstrip("/")
        self._client, self._exists, self._fault = obstore, AlreadyExistsError, BaseError
        options: dict[str, Any] = {"retry_config": {"max_retries": 100, "retry_timeout": PATIENCE}}
        if urlsplit(root).scheme == "s3":
            options |= _aws_options()
        try:
            self._store: Any = obstore.store.from_url(self.root, **options)
        except BaseError as error:
            raise StorageError(f"{root}: {_first_line(error)}") from error

    def read(self, path: str) -> bytes:
        return self._call(self._content, path)

    def _content(self, store: Any, path: str) -> bytes:
        return bytes(self._client.get(store, path).bytes())

    def write(self, path: str, content: bytes) -> None:
        self._call(self._client.put, path, content)

    def create(self, path: str, content: bytes) -> None:
        try:
            self._call(self._client.put, path, content, mode="create")
        except FileExistsError:
            # a request that was sent again after a lost answer meets its own first copy
            if self.read(path) != content:
                raise

    def exists(self) -> bool:
        chunks: Iterable[Sequence[Any]] = self._call(self._client.list)
        try:
            return any(chunk for chunk in chunks)  # the first tells
        except self._fault as error:
            raise StorageError(f"{self.root}: {_first_line(error)}") from error

    def listing(self, prefix: str = "") -> dict[str, Entry]:
        for pause_s in (*LISTING_PAUSES_S, None):
            chunks: Iterable[Sequence[Any]] = self._call(self._client.list, prefix or None)
            try:
                return {
                    meta["path"]: Entry(meta["size"], meta["e_tag"] or "", meta["last_modified"].timestamp())
                    for chunk in chunks
                    for meta in chunk
                }
            except self._fault as error:  # the client repeats requests and cut contents, but no cut listing
                if pause_s is None:
                    raise StorageError(f"{self.root}: {_first_line(error)}") from error
                time.sleep(pause_s)
        raise AssertionError  # the last one has returned or raised

    def upload(self, source: Path, path: str) -> None:
        self._call(self._client.put, path, source)

    def download(self, path: str, target: Path) -> None:
        self._call(self._copy, path, target)

    def _copy(self, store: Any, path: str, target: Path) -> None:
        with target.open("wb") as file:
            for chunk in self._client.get(store, path):
                file.write(chunk)

    def move(self, path: str, to: str) -> None:
        self._call(self._client.rename, path, to)

    def remove(self, paths: Iterable[str]) -> None:
        doomed = list(paths)
        if not doomed:
            return
        try:
            self._call(self._client.delete, doomed)
        except FileNotFoundError:  # GCS and Azure tell of what is not there, and stop at it
            for path in doomed:
                with suppress(FileNotFoundError):
                    self._call(self._client.delete, path)

    def _call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return function(self._store, *arguments, **options)
        except self._exists as error:
            raise FileExistsError(errno.EEXIST, "exists already", str(arguments[0])) from error
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise StorageError(f"{self.root}: there is no such bucket") from error
            raise FileNotFoundError(errno.ENOENT, "is not there", f"{self.root}/{arguments[0]}") from error
        except self._fault as error:
            raise StorageError(f"{self.root}: {_first_line(error)}") from error


def _aws_options() -> dict[str, Any]:
    options: dict[str, Any] = {}
    if os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        options["client_options"] = {"allow_http": True}  # the user named a server without TLS
    if "AWS_ACCESS_KEY_ID" in os.environ:
        return options
    try:
        import boto3
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        return options
    session = boto3.Session()
    if session.profile_name != "default" or "default" in session.available_profiles:  # the client reads no profiles
        options["credential_provider"] = Boto3CredentialProvider(session)
    return options


def read_many(storage: Storage, paths: Sequence[str]) -> list[bytes | None]:
    """Several files at once, in order; None for one that is not there."""

    def read(path: str) -> bytes | None:
        try:
            return storage.read(path)
        except FileNotFoundError:
            return None

    if storage.folder is not None:
        return [read(path) for path in paths]
    with ThreadPoolExecutor(PARALLEL_REQUESTS) as threads:
        return list(threads.map(read, paths))


def download_many(storage: Storage, files: Sequence[tuple[str, Path]]) -> None:
    """Copy several files, at once, to this machine; each appears whole."""

    def download(file: tuple[str, Path]) -> None:
        path, target = file
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as scratch:
            storage.download(path, Path(scratch) / target.name)
            (Path(scratch) / target.name).replace(target)

    with ThreadPoolExecutor(PARALLEL_REQUESTS) as threads:
        for _ in threads.map(download, files):
            pass


def write_atomically(path: Path, content: bytes, *, exclusive: bool = False) -> None:
    """Write a file so that a reader sees all of it or none; ``exclusive`` raises FileExistsError if it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        made = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except OSError:  # a full disk
            made.unlink(missing_ok=True)
            raise
    made.chmod(0o644)
    try:
        if exclusive:
            _link_or_create(made, path, content)
        else:
            made.replace(path)
    finally:
        made.unlink(missing_ok=True)


def _link_or_create(made: Path, path: Path, content: bytes) -> None:
    """Give a written file its name unless that is taken; a file system without hard links creates it in place."""
    try:
        os.link(made, path)  # never shows a part of the content
    except FileExistsError:
        if made.stat().st_nlink < 2:  # else NFS has made the link, and its answer was lost
            raise
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
