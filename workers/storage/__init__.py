"""A store's files, in a folder on a local or mounted file system or in a bucket, behind one small interface.

Paths are relative to the store's root, with slashes. A reader sees a whole file or none.
"""

from workers.storage.base import Entry, Storage, StorageError
from workers.storage.bucket import Bucket
from workers.storage.folder import Folder
from workers.storage.opening import is_bucket, open_storage
from workers.storage.parallel import PARALLEL_REQUESTS, download_many, read_many

__all__ = [
    "PARALLEL_REQUESTS",
    "Bucket",
    "Entry",
    "Folder",
    "Storage",
    "StorageError",
    "download_many",
    "is_bucket",
    "open_storage",
    "read_many",
]
