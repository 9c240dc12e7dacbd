"""The heartbeat of an attempt: ``progress.json``, by which a driver tells a slow stage from a hung one."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tickets.files.writing import replacing

PROGRESS_INTERVAL_S = 2.0


class Heartbeat:
    """Writes ``progress.json``: how far the attempt is, how often it has beaten, and its longest step.

    Args:
        files: where to write it; several probes that run together each have one.
        node: the backend's name of the machine.
    """

    def __init__(self, files: Sequence[Path], node: str) -> None:
        self._files = files
        self._content: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid(), "node": node, "beats": 0}
        self._beats, self._longest_s, self._last, self._written = 0, 0.0, 0.0, 0.0
        self._write()

    def beat(self) -> None:
        """Count a step of the attempt."""
        now = time.monotonic()
        if self._beats:
            self._longest_s = max(self._longest_s, now - self._last)
        self._beats, self._last = self._beats + 1, now
        if self._beats == 2 or now - self._written > PROGRESS_INTERVAL_S:  # two beats are the first measure of pace
            self._write()

    def report(self, progress: Mapping[str, Any]) -> None:
        """Add how far the attempt is."""
        self._content |= progress
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        self._content |= {"beats": self._beats, "longest_step_s": self._longest_s if self._beats > 1 else None}
        for file in self._files:
            with replacing(file) as partial:  # fails if the attempt's folder has been removed
                partial.write_text(json.dumps(self._content))
