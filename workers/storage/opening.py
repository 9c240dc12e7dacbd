"""The storage that a path or URL names."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from workers.storage.base import Storage, StorageError
from workers.storage.bucket import Bucket
from workers.storage.folder import Folder

BUCKETS = ("s3", "gs", "az")


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
