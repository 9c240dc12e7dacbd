"""Renders the report while a sweep runs, and at its end."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from contextlib import suppress

from orchestrator.store import Store, StoreError
from orchestrator.store.provenance import code_provenance
from tickets.files import digest
from winning_sign import HOME
from workers.storage import UnreadableFileError
from workers.terminal.command import print_error
from workers.terminal.console import Console

REPORT = "report.html"
STAMP = "report.json"
"""Holds a digest of what the report in the store was rendered from."""
INTERVAL_S = 60.0


class LiveReport:
    """Renders the report in its own process: the driver goes on, and an error there cannot end a sweep."""

    def __init__(self, store: Store) -> None:
        self.path = f"{store.root}/{REPORT}"
        self._store, self._shown = store, shlex.quote(store.root)
        # -P: a folder `analysis` in the current one must not hide ours
        self._command = [sys.executable, "-P", "-m", "analysis.report", store.root]
        path = f"{HOME}{os.pathsep}{os.environ.get('PYTHONPATH', HOME)}"
        self._environment = {**os.environ, "PYTHONPATH": path}
        self._process: subprocess.Popen[bytes] | None = None
        self._next_s = 0.0

    def refresh(self) -> None:
        """Start rendering, unless a rendering still runs, or began less than ``INTERVAL_S`` ago."""
        idle = self._process is None or self._process.poll() is not None
        if idle and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + INTERVAL_S
            nowhere = subprocess.DEVNULL
            with suppress(OSError):  # no memory for a process: the next one may find some
                self._process = subprocess.Popen(
                    self._command, env=self._environment, stdout=nowhere, stderr=nowhere, start_new_session=True
                )

    def write(self, console: Console) -> bool:
        """Render the report, unless the last listing and this code have one already, and print where it is.

        Returns:
            Whether there is a report. If not, an error was printed.
        """
        if self._process is not None:
            self._process.wait()
        stamp = self._stamp()
        if self._process is None and self._has(REPORT) and self._has(STAMP, stamp):
            console.print(f"Report: {self.path}", soft_wrap=True)
            return True
        done = subprocess.run(
            self._command, env=self._environment, capture_output=True, encoding="utf-8", errors="replace"
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            reason = next((line for line in lines if line.startswith("Error: ")), lines[-1]).removeprefix("Error: ")
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

    def _stamp(self) -> bytes:
        """A digest of all records and failures as last listed, the plans in their order, and the code."""
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
