"""A store as it was listed once: who looks again and again asks a bucket only for what has changed since."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from orchestrator.store import Entry, Storage, Store


class Snapshot:
    """What a reader needs of a storage: every listing is the one taken last, and a file is read once per version.

    It cannot write. What changes while it is read is kept as the version that was listed, and so read again later.
    """

    def __init__(self, storage: Storage) -> None:
        self.root = storage.root
        self._storage = storage
        self._listing: dict[str, Entry] = {}
        self._kept: dict[str, tuple[str, bytes]] = {}

    def take(self) -> dict[str, Entry]:
        """List everything anew."""
        self._listing = self._storage.listing()
        self._kept = {path: kept for path, kept in self._kept.items() if path in self._listing}
        return self._listing

    def store(self) -> Store:
        """A new store on the snapshot: it knows nothing but what was listed."""
        store = Store(self.root)
        store.storage = cast(Storage, self)  # who reads calls no other method
        return store

    @property
    def folder(self) -> Path | None:
        return self._storage.folder

    def exists(self) -> bool:
        return bool(self._listing) or self._storage.exists()

    def listing(self, prefix: str = "") -> dict[str, Entry]:
        return {path: entry for path, entry in self._listing.items() if path.startswith(f"{prefix}/" if prefix else "")}

    def read(self, path: str) -> bytes:
        version = self._listing[path].version if path in self._listing else ""
        kept_of, content = self._kept.get(path, ("", b""))
        if not version or kept_of != version:
            content = self._storage.read(path)
            self._kept[path] = version, content
        return content

    def download(self, path: str, target: Path) -> None:
        self._storage.download(path, target)
