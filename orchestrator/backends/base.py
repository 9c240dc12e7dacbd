"""What the driver needs of a backend: a place to run attempts, and how each one ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from workers.attempts.attempt import Attempt, Outcome

Group = tuple[Attempt, ...]
"""One attempt, or several probes that read the same data together."""


class BackendError(ValueError):
    """A backend that cannot be used as asked; the message says what to do."""


@dataclass(frozen=True)
class Lost:
    """The process or machine that ran an attempt died, or was ended because the attempt hung."""

    message: str
    how: Literal["process", "node", "hung"] = "process"


class Backend(Protocol):
    """Runs groups of attempts.

    Attributes:
        devices: how many groups run at a time with a device each: a CPU core, or a GPU. It changes with the cluster.
        device_bytes: memory of a GPU, which several groups may share in one process; None where none may.
    """

    @property
    def devices(self) -> int: ...

    device_bytes: int | None

    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Start a group on the device with the fewest; a gang's attempt, on as many free devices as it needs."""

    def wait(self, timeout_s: float) -> list[tuple[Group, Sequence[Outcome | Lost]]]:
        """Groups that have ended, after at most ``timeout_s`` when none has, with an outcome per attempt."""

    def end(self, attempt: Attempt) -> bool:
        """End the process of a group that hangs: it is then ``Lost``. False where that cannot be done."""

    def draining(self) -> Collection[str]:
        """Machines that are about to go, and gangs that have a rank on one.

        By the name that their attempts' ``progress.json`` has as ``node``.
        """

    def close(self) -> None:
        """Give everything back."""
