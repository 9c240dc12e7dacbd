"""What gangs change in scheduling: which stage may start, and how an attempt of several ranks ended. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.backends.base import Lost
from workers.attempt import Outcome
from workers.gang import RankLostError
from workers.stages import Probe, Stage


def width(stage: Stage) -> int:
    """Devices that a stage needs at the same time."""
    return 1 if isinstance(stage, Probe) else stage.training.gang.ranks


def next_to_start(widths: Sequence[int], *, slots: int, free: int, devices: int, by_narrow: int) -> int | None:
    """Which ready stage to start now; None to wait.

    A gang that is due but does not fit holds back what is narrower, which would take the devices it waits for one by
    one, for ever. What it could never use, because the devices are no multiple of its width, stays open to others.

    Args:
        widths: of the ready stages, the most urgent first.
        slots: how many more stages may run.
        free: devices on which nothing runs.
        devices: all devices.
        by_narrow: devices on which stages of one device run.
    """
    if not widths or slots < 1:
        return None
    due = widths[0]
    if due == 1 or due <= free:
        return 0
    if free and by_narrow < devices % due:
        return next((index for index, each in enumerate(widths) if each == 1), None)
    return None


def verdict(outcomes: Mapping[int, Outcome], ranks: int) -> Outcome | Lost:
    """How an attempt ended, by what its ranks said, in the order in which they said it; some may have said nothing.

    The first failure is the cause: those after it are of ranks that it left alone.
    """
    for outcome in outcomes.values():
        if outcome.status == "failed" and outcome.error_type != RankLostError.__name__:
            return outcome
    failed = [rank for rank, outcome in outcomes.items() if outcome.status == "failed"]
    if failed or len(outcomes) < ranks:
        silent = ", ".join(str(rank) for rank in range(ranks) if rank not in outcomes)
        return Lost(f"of a gang of {ranks}, {f'rank {silent}' if silent else 'the connection'} was lost")
    return outcomes[0]
