"""Decides which stages this driver runs, where several drivers share a store."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from orchestrator.planning.plan import Node
from orchestrator.store import Store
from orchestrator.store.leases import Lease, LeaseWatch


class Elsewhere(Enum):
    """Why this driver must not run a stage now."""

    DONE = "done"
    RUNNING = "running"


class Claims:
    """The view of one driver, ``driver``, of the others."""

    def __init__(self, store: Store, driver: str) -> None:
        self._store, self._driver = store, driver
        self._watch = LeaseWatch(store.storage)
        self._living: Mapping[str, Lease] = {}

    def refresh(self) -> None:
        """Read which drivers live."""
        self._living = self._watch.living()

    def take(self, node: Node) -> str | Elsewhere:
        """Claim a new attempt at a stage, also a dead driver's; return its folder, relative to the store's root."""
        stage = self._store.locate(node.stage.kind, node.name, node.key)
        if stage.done:
            return Elsewhere.DONE
        holder = self._store.holder(node.key)
        if holder is not None and holder != self._driver:
            if holder not in self._living:  # it may have come since the last refresh
                self.refresh()
            if holder in self._living:
                return Elsewhere.RUNNING
            self._watch.revoke(holder, by=self._driver)
        return self._store.claim(node.key, self._driver) or Elsewhere.RUNNING

    def inspect(self, key: str) -> Elsewhere | None:
        """Where a stage that was left to another driver is now; None if that driver gave it up."""
        stage = self._store.list_files(key)
        if stage is not None and stage.done:
            return Elsewhere.DONE
        holder = self._store.holder(key)
        # a held stage of this driver's own does not run
        return Elsewhere.RUNNING if holder in self._living and holder != self._driver else None
