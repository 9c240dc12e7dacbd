"""A store's files, in a folder on a local or mounted file system or in a bucket, behind one small interface.

Paths are relative to the store's root, with slashes. A reader sees a whole file or none.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from tickets.files.home import expanded
from tickets.files.reading import UnreadableFileError
from workers.storage.base import (
    PARALLEL_REQUESTS,
    Entry,
    NoBucketError,
    Storage,
    StorageError,
    download_many,
    read_many,
)
from workers.storage.bucket import Bucket
from workers.storage.folder import Folder

__all__ = [
    "PARALLEL_REQUESTS",
    "Bucket",
    "Entry",
    "Folder",
    "NoBucketError",
    "Storage",
    "StorageError",
    "UnreadableFileError",
    "download_many",
    "is_bucket",
    "open_storage",
    "read_many",
]

BUCKETS = ("s3", "gs", "az")
URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # one slash, since Path("s3://b") becomes "s3:/b"


def is_bucket(root: str | Path) -> bool:
    """Whether a root is the URL of a bucket."""
    return isinstance(root, str) and urlsplit(root).scheme in BUCKETS


def open_storage(root: str | Path) -> Storage:
    """Open a folder, or ``s3://bucket/path``, ``gs://bucket/path`` or ``az://container/path``.

    Raises:
        StorageError: the name is empty or not UTF-8; or the URL is of another kind, has a user, password or query, or
            cannot be opened.
    """
    if not str(root).strip():
        raise StorageError("the store has no name; give a folder, such as sweeps, or a URL, such as s3://bucket/sweeps")
    if is_bucket(root) or URL.match(str(root)):
        _check_no_secret(str(root))
    if is_bucket(root):
        return Bucket(str(root))
    if URL.match(str(root)):
        schemes = ", ".join(f"{scheme}://" for scheme in BUCKETS)
        raise StorageError(f"{root} is no URL of a bucket; give a folder, or a URL that begins with one of {schemes}")
    folder = expanded(root).absolute()
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise StorageError(f"{folder}: the store's path is not UTF-8, as records must be; rename the folder") from error
    return Folder(folder)


def _check_no_secret(url: str) -> None:
    """Raise StorageError, without the URL, if the URL may hold a secret: plans, records and leases would keep it."""
    _, _, rest = url.partition(":")
    place = rest.lstrip("/").partition("/")[0]  # a secret key may hold a slash, with the @ after it
    if any(mark in place for mark in "@:") or any(mark in rest for mark in "?#"):
        raise StorageError(
            "the store's URL holds a user, a password or a query, which plans and records would keep; give bucket and "
            "path alone, and credentials by the environment or the machine's identity"
        )
