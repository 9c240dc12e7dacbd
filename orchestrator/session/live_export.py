"""Writes finished stages for other tools while a sweep runs, and at its end."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from orchestrator.session.companion import Companion, errors
from orchestrator.store import Store
from workers.terminal.command import print_error
from workers.terminal.console import Console


class LiveExport:
    """Runs ``winning-sign export`` beside the driver; does nothing without destinations."""

    def __init__(self, store: Store, destinations: Sequence[str]) -> None:
        options = [word for destination in destinations for word in ("--to", destination)]
        self.companion = Companion("orchestrator.export", store.root, *options) if destinations else None
        self._by_hand = shlex.join(["winning-sign", "export", store.root, *options])
        self._told = False

    def refresh(self, tell: Callable[[str], None]) -> None:
        """Start an export if one is due; the first that fails is told of."""
        if self.companion is None:
            return
        if self.companion.failed and not self._told:
            self._told = True
            tell(f"Writing to --log-to fails, and the sweep goes on; {self._by_hand} says why.")
        self.companion.refresh()

    def write(self, console: Console) -> None:
        """Export what is left and print where it is, or why it failed; a sweep is not worse for it."""
        if self.companion is None:
            return
        self.companion.wait()
        done = self.companion.run()
        for line in done.stdout.splitlines():
            console.print(line, soft_wrap=True)
        if done.returncode:
            for sentence in errors(done):
                print_error(sentence)
            print_error(f"the stages are in the store; for --log-to mend this, then: {self._by_hand}")
