"""A folder or a bucket in which every stage has its place, found by key."""

from orchestrator.store.errors import StoreError
from orchestrator.store.layout import KEY_DIGITS
from orchestrator.store.store import Store, user_cache

__all__ = ["KEY_DIGITS", "Store", "StoreError", "user_cache"]
