"""What the driver needs of a backend: a place to run attempts, and how each one ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from workers.attempt import Attempt, Outcome

Group = tuple[Attempt, ...]
"""One attempt, or several probes that read the same data together."""


class BackendError(ValueError):
    """A backend that cannot be used as asked; the message says what to do."""


@dataclass(frozen=True)
class Lost:
    """The process or machine that ran an attempt died."""

    message: str


class Backend(Protocol):
    """Runs groups of attempts.

    Attributes:
        devices: how many groups run at a time with a device each: a CPU core, or a GPU.
        device_bytes: memory of a GPU, which several groups may share in one process; None where none may.
    """

    devices: int
    device_bytes: int | None

    @property
    def free(self) -> int:
        """Devices on which nothing runs; asked before a gang is submitted."""

    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Start a group on the device with the fewest; a gang's attempt, on as many free devices as it needs."""

    def wait(self, timeout_s: float) -> list[tuple[Group, Sequence[Outcome | Lost]]]:
        """Groups that have ended, after at most ``timeout_s`` when none has, with an outcome per attempt."""

    def close(self) -> None:
        """Give everything back."""
