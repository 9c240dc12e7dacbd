"""The storage that a path or URL names."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from workers.storage.base import Storage, StorageError
from workers.storage.bucket import Bucket
from workers.storage.folder import Folder

BUCKETS = ("s3", "gs", "az")
URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # one slash: what a Path makes of two


def is_bucket(root: str | Path) -> bool:
    """Whether this names a bucket."""
    return isinstance(root, str) and urlsplit(root).scheme in BUCKETS


def open_storage(root: str | Path) -> Storage:
    """The storage of a folder, or of ``s3://bucket/path``, ``gs://bucket/path`` or ``az://container/path``.

    Raises:
        StorageError: no name, no such kind of URL, one with a user, password or query, or its client cannot be made.
    """
    if not str(root).strip():
        raise StorageError("the store has no name; give a folder, such as sweeps, or the URL of a bucket's")
    if is_bucket(root) or URL.match(str(root)):
        _check_no_secret(str(root))
    if is_bucket(root):
        return Bucket(str(root))
    if URL.match(str(root)):
        known = ", ".join(f"{scheme}://" for scheme in BUCKETS)
        raise StorageError(f"{root}: a store is a folder; a sweep's may also be a URL that begins with one of {known}")
    return Folder(root)


def _check_no_secret(url: str) -> None:
    """StorageError, which does not repeat it, if a URL has more than names: plans, records and leases keep it."""
    _, _, rest = url.partition(":")
    place = rest.lstrip("/").partition("/")[0]  # a secret key may have a slash, so that the @ comes later
    if any(mark in place for mark in "@:") or any(mark in rest for mark in "?#"):
        raise StorageError(
            "a store's URL holds a user, a password or a query, which plans and records would keep; give the bucket "
            "and the path alone, and credentials by the environment or the machine's identity"
        )
