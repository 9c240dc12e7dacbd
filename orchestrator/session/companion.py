"""Another program of ours beside the driver, in a process of its own: an error there cannot end a sweep."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress

from winning_sign import HOME
from workers.devices.cores import usable_cores

INTERVAL_S = 60.0
SHARE = 0.02  # of this machine's processor time, which the stages may need: on few cores the next start waits longer


class Companion:
    """Runs one of our modules with these arguments, now and again or once."""

    def __init__(self, module: str, *arguments: str) -> None:
        # -P: a folder `analysis` in the current one must not hide ours
        self.command = [sys.executable, "-P", "-m", module, *arguments]
        path = f"{HOME}{os.pathsep}{os.environ.get('PYTHONPATH', HOME)}"
        self._environment = {**os.environ, "PYTHONPATH": path}
        self._process: subprocess.Popen[bytes] | None = None
        self._began_s = self._next_s = 0.0

    @property
    def started(self) -> bool:
        """Whether ``refresh`` has started it."""
        return self._process is not None

    @property
    def failed(self) -> bool:
        """Whether the last start by ``refresh`` has ended badly."""
        return self._process is not None and self._process.poll() not in (None, 0)

    def refresh(self) -> None:
        """Start it without its output, unless it still runs, or began a moment ago.

        It begins at most every ``INTERVAL_S``, and takes at most ``SHARE`` of the processor time.
        """
        before_s = _ended_children_s()
        idle = self._process is None or self._process.poll() is not None
        spent_s = _ended_children_s() - before_s  # by a process whose end ``poll`` has just seen
        self._next_s = max(self._next_s, self._began_s + spent_s / (SHARE * usable_cores()))
        if idle and time.monotonic() >= self._next_s:
            self._began_s = time.monotonic()
            self._next_s = self._began_s + INTERVAL_S
            nowhere = subprocess.DEVNULL
            with suppress(OSError):  # no memory for a process: the next one may find some
                self._process = subprocess.Popen(
                    self.command, env=self._environment, stdout=nowhere, stderr=nowhere, start_new_session=True
                )

    def wait(self) -> None:
        """Wait for what ``refresh`` started."""
        if self._process is not None:
            self._process.wait()

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run it to its end; ``errors`` reads its messages."""
        return subprocess.run(
            self.command, env=self._environment, capture_output=True, encoding="utf-8", errors="replace"
        )


def _ended_children_s() -> float:
    """Processor time of this process's children that have ended, and of theirs."""
    times = os.times()
    return times.children_user + times.children_system


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a program that failed said: its sentences, else the last line, else its exit code."""
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    sentences = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    return sentences or lines[-1:]
