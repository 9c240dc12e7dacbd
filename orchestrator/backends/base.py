"""What the driver needs of a backend: a place to run attempts, and how each one ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from workers.attempt import Attempt, Outcome


class BackendError(ValueError):
    """A backend that cannot be used as asked; the message says what to do."""


@dataclass(frozen=True)
class Lost:
    """The process or machine that ran an attempt died."""

    message: str


class Backend(Protocol):
    """Runs attempts. The driver never submits more than ``slots`` at a time."""

    slots: int

    def submit(self, attempt: Attempt) -> None:
        """Start an attempt."""

    def wait(self, timeout_s: float) -> list[tuple[Attempt, Outcome | Lost]]:
        """Attempts that have ended, after at most ``timeout_s`` when none has."""

    def close(self, *, now: bool = False) -> None:
        """Give everything back; with ``now``, running attempts are killed."""
