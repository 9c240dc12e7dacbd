"""One attempt at a time, in this process: no Ray, nothing to install, easy to debug."""

from __future__ import annotations

from orchestrator.backends.base import Lost
from workers.attempt import Attempt, Outcome, run_attempt


class InlineBackend:
    """Runs an attempt while the driver waits for it."""

    slots = 1

    def __init__(self) -> None:
        self._attempt: Attempt | None = None

    def submit(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def wait(self, timeout_s: float) -> list[tuple[Attempt, Outcome | Lost]]:
        if self._attempt is None:
            return []
        attempt, self._attempt = self._attempt, None
        return [(attempt, run_attempt(attempt))]

    def close(self, *, now: bool = False) -> None:
        self._attempt = None
