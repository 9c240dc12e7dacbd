"""The backend's interface: a place that runs attempts, and tells how each one ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from workers.attempts.attempt import Attempt, Outcome
from workers.training.gang.member import RankLostError

Group = tuple[Attempt, ...]
"""One attempt, or several probes that read the same data together."""


class BackendError(ValueError):
    """A backend that cannot be used as asked; the message says what to do."""


@dataclass(frozen=True)
class Lost:
    """An attempt whose process or machine died, or was ended because the attempt hung."""

    message: str
    how: Literal["process", "node", "hung"] = "process"


def gang_outcome(outcomes: Mapping[int, Outcome], ranks: int) -> Outcome | Lost:
    """Merge the ranks' outcomes, in the order of their reports, into the attempt's; ranks may be missing.

    The first failure is the cause: later ones are of ranks that the failed rank left alone.
    """
    for outcome in outcomes.values():
        if outcome.error_type == "AcceleratorError":  # a process whose GPU failed once can never use it again
            return Lost(f"AcceleratorError: {outcome.message}")
        if outcome.status == "failed" and outcome.error_type != RankLostError.__name__:
            return outcome
    failed = [rank for rank, outcome in outcomes.items() if outcome.status == "failed"]
    if failed or len(outcomes) < ranks:
        silent = ", ".join(str(rank) for rank in range(ranks) if rank not in outcomes)
        return Lost(f"of a gang of {ranks}, {f'rank {silent}' if silent else 'the connection'} was lost")
    return outcomes[0]


class Backend(Protocol):
    """Runs groups of attempts.

    Attributes:
        devices: groups that run at a time with a device (a CPU core or a GPU) each; changes with the cluster.
        device_bytes: memory of a GPU that several groups may share in one process; None if none may.
        wanted: devices that stages are ready for, beyond those there are; the driver sets it before it waits.
    """

    @property
    def devices(self) -> int: ...

    device_bytes: int | None
    wanted: int

    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Start a group on the least loaded device; a gang's attempt, on as many free devices as it needs."""

    def wait(self, timeout_s: float) -> list[tuple[Group, Sequence[Outcome | Lost]]]:
        """Return ended groups with one outcome per attempt; wait up to ``timeout_s`` for a first one."""

    def end(self, attempt: Attempt) -> bool:
        """End the process of a hung attempt's group, which is then ``Lost``; False if the backend cannot."""

    def draining(self) -> Collection[str]:
        """Machines that are about to go, and gangs with a rank on one, as named by ``node`` in ``progress.json``."""

    def close(self) -> None:
        """Release all devices."""
