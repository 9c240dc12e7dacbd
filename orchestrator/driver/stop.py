"""A sweep that was asked to stop: nothing new starts, and what runs checkpoints."""

from __future__ import annotations

from contextlib import suppress

from orchestrator.store import Store
from orchestrator.store.leases import HeldLease


class StopRequest:
    """Whether this sweep is to stop; a file tells workers on any machine that sees the store."""

    def __init__(self, store: Store, lease: HeldLease) -> None:
        self._store, self._lease = store, lease
        self.asked = False

    @property
    def file(self) -> str:
        """What workers look for, relative to the store's root."""
        return self._lease.stop_file

    def ask(self) -> None:
        """Stop submitting, and have running stages checkpoint."""
        self.asked = True
        with suppress(OSError):  # then they run to their end
            self._store.storage.write(self.file, b"")

    def look(self, *, closely: bool = False) -> None:
        """Whether someone else has asked, or taken this driver's work over; closely: now, not as last seen."""
        if closely:
            with suppress(OSError):
                self._lease.check()
        if not self.asked and (self._lease.stop_asked or self._lease.lost):
            self.ask()
