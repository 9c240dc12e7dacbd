"""Which stages are this driver's to run, of several that may work in one store."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from orchestrator.planning.plan import Node
from orchestrator.store import Store
from orchestrator.store.layout import RECORD
from orchestrator.store.leases import Lease, LeaseWatch


class Others(Enum):
    """A stage that is not to be run here now."""

    HAVE_DONE = "done"
    ARE_AT_IT = "held"


class Claims:
    """One driver's view of the others.

    Args:
        driver: its own name.
    """

    def __init__(self, store: Store, driver: str) -> None:
        self._store, self._driver = store, driver
        self._watch = LeaseWatch(store.storage)
        self._living: Mapping[str, Lease] = {}

    def look(self) -> None:
        """See which drivers live."""
        self._living = self._watch.living()

    def take(self, node: Node) -> str | Others:
        """The folder of a new attempt at a stage, relative to the store's root; a dead driver's is taken over."""
        stage = self._store.locate(node.stage.kind, node.name, node.key)
        if RECORD in stage.files:
            return Others.HAVE_DONE
        holder = self._store.holder(node.key)
        if holder is not None and holder != self._driver:
            if holder not in self._living:  # it may have come since the last look
                self.look()
            if holder in self._living:
                return Others.ARE_AT_IT
            self._watch.revoke(holder, by=self._driver)
        return self._store.claim(node.key, self._driver) or Others.ARE_AT_IT

    def state(self, key: str) -> Others | None:
        """Where another driver is with a stage that was left to it; None if it was given up."""
        stage = self._store.look(key)
        if stage is not None and RECORD in stage.files:
            return Others.HAVE_DONE
        holder = self._store.holder(key)
        # not its own: nothing runs there
        return Others.ARE_AT_IT if holder in self._living and holder != self._driver else None
