"""The report while a sweep runs and at its end."""

from __future__ import annotations

import subprocess
import sys

from rich.console import Console


class LiveReport:
    """Writes the report in a process of its own: the driver goes on, and a fault there cannot end a sweep."""

    def __init__(self, root: str) -> None:
        self.path = f"{root}/report.html"
        self._command = [sys.executable, "-m", "analysis.report", root]
        self._process: subprocess.Popen[bytes] | None = None

    def refresh(self) -> None:
        """Start writing, unless that is still going on."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )

    def write(self) -> None:
        """Write, and say so if it fails."""
        if self._process is not None:
            self._process.wait()
        done = subprocess.run(self._command, capture_output=True, text=True)
        if done.returncode:
            Console(stderr=True).print(f"The report could not be written:\n{done.stderr}", markup=False)
