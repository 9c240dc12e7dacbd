"""Snapshot of a store: repeated reading asks a bucket for changed files only."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from orchestrator.store import Entry, Storage, Store
from tickets.files.reading import MOST_BYTES


class Snapshot:
    """A read-only storage: ``listing`` returns the last listing taken, and each file is read once per version.

    A file that changes while it is read is kept under its listed version, and read again after the next listing.
    """

    def __init__(self, storage: Storage) -> None:
        self.root = storage.root
        self._storage = storage
        self._listing: dict[str, Entry] = {}
        self._kept: dict[str, tuple[str, bytes]] = {}

    def take(self) -> dict[str, Entry]:
        """List the storage again."""
        self._listing = self._storage.listing()
        self._kept = {path: kept for path, kept in self._kept.items() if path in self._listing}
        return self._listing

    def store(self) -> Store:
        """Return a new store that reads the snapshot."""
        store = Store(self.root)
        store.storage = cast(Storage, self)  # readers call no other method
        return store

    @property
    def folder(self) -> Path | None:
        return self._storage.folder

    def exists(self) -> bool:
        return bool(self._listing) or self._storage.exists()

    def listing(self, prefix: str = "") -> dict[str, Entry]:
        return {path: entry for path, entry in self._listing.items() if path.startswith(f"{prefix}/" if prefix else "")}

    def irregular(self) -> dict[str, str]:
        return self._storage.irregular()

    def read(self, path: str, most_bytes: int = MOST_BYTES, *, end: bool = False) -> bytes:
        version = self._listing[path].version if path in self._listing else ""
        kept_of, content = self._kept.get(path, ("", b""))
        if not version or kept_of != version:
            content = self._storage.read(path, most_bytes, end=end)
            self._kept[path] = version, content
        return content

    def download(self, path: str, target: Path) -> None:
        self._storage.download(path, target)
