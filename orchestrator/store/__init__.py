"""A store: the folder or bucket in which every stage has its place, found by key."""

from orchestrator.store.layout import KEY_DIGITS
from orchestrator.store.record import StoreError
from orchestrator.store.store import Store
from workers.storage import Entry, Storage

__all__ = ["KEY_DIGITS", "Entry", "Storage", "Store", "StoreError"]
