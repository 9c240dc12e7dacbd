"""Renders the report while a sweep runs, and at its end."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress

from orchestrator.session.companion import Companion, errors
from orchestrator.store import Store, StoreError
from orchestrator.store.provenance import code_provenance
from tickets.files import digest
from workers.storage import UnreadableFileError
from workers.terminal.command import print_error
from workers.terminal.console import Console

REPORT = "report.html"
STAMP = "report.json"
"""Holds a digest of what the report in the store was rendered from."""


class LiveReport:
    """Renders the report in its own process: the driver goes on, and an error there cannot end a sweep."""

    def __init__(self, store: Store) -> None:
        self.path = f"{store.root}/{REPORT}"
        self._store, self._shown = store, shlex.quote(store.root)
        self.companion = Companion("analysis.report", store.root)

    def refresh(self) -> None:
        """Start rendering, unless a rendering still runs or began a moment ago."""
        self.companion.refresh()

    def write(self, console: Console) -> bool:
        """Render the report, unless the last listing and this code have one already, and print where it is.

        Returns:
            Whether there is a report. If not, an error was printed.
        """
        self.companion.wait()
        stamp = self.stamp()
        if not self.companion.started and self._has(REPORT) and self._has(STAMP, stamp):
            console.print(f"Report: {self.path}", soft_wrap=True)
            return True
        done = self.companion.run()
        if done.returncode:
            reason = errors(done)[0]
            print_error(
                f"the report could not be written: {reason}; mend this, then: winning-sign report {self._shown}"
            )
            return False
        with suppress(OSError, StoreError):  # without the stamp the report is rendered again next time
            self._store.storage.write(STAMP, stamp)
        console.print(f"Report: {self.path}", soft_wrap=True)
        return True

    def _has(self, name: str, content: bytes | None = None) -> bool:
        """Whether the store has a file, with this content if given."""
        try:
            return content in (self._store.storage.read(name), None)
        except (FileNotFoundError, UnreadableFileError):
            return False

    def stamp(self) -> bytes:
        """Return a digest of all records and failures as last listed, the plans in their order, and the code."""
        files = {
            f"{stage.folder}/{path}": entry.version
            for stage in self._store.stages(relist=False).values()
            for path, entry in stage.files.items()
            if path.endswith((".json", ".parquet"))
        }
        plans = [[stage.key for stage in plan.stages] for plan in self._store.plans()]
        code = [code_provenance()[name] for name in ("git_commit", "git_dirty_blake2b", "packages")]
        content = json.dumps([sorted(files.items()), plans, *code])
        return json.dumps({"made_of_blake2b": digest.of_text(content)}).encode()
