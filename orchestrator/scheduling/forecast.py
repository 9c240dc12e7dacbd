"""What the rest of a plan will take on the devices at hand: time, device-hours, money. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from orchestrator.planning.plan import Node, Plan
from orchestrator.scheduling.estimate import Estimates
from orchestrator.scheduling.simulation import simulate
from workers.stages.kinds import width


@dataclass(frozen=True)
class Forecast:
    """What is left to do, one stage at a time on its devices. What is not known is None.

    Attributes:
        measured_on: the device whose records the durations come from.
        estimated_stages: how many of the stages that are left have a measured duration.
        unmeasured: data sets with architectures of which nothing was measured, such as "cifar10/resnet20".
        device_hours: of the estimated stages; all of them where ``unmeasured`` is empty.
        devices: how many there are.
        makespan_s: until the end, simulated; None as well while anything is unmeasured, or needs more devices.
        cost_usd: of the device-hours.
        held_cost_usd: of all devices for the makespan: a sweep holds a cluster's until it ends.
        at_least: those of which only resumed stages were measured, so that hours, makespan and cost may be more.
    """

    measured_on: str | None
    estimated_stages: int
    unmeasured: tuple[str, ...]
    device_hours: float | None
    devices: int
    makespan_s: float | None
    cost_usd: float | None
    held_cost_usd: float | None
    at_least: tuple[str, ...]


def forecast(
    plan: Plan,
    cached: Collection[str],
    estimates: Estimates,
    devices: int,
    usd_per_device_hour: float | None = None,
) -> Forecast:
    """Foresee the stages that are not cached.

    Args:
        devices: how many there are.
    """
    seconds = estimates.of(plan)
    left = [node for node in plan if node.key not in cached]
    unmeasured = _works(node for node in left if node.key not in seconds)
    estimated = [seconds[node.key] * width(node.stage) for node in left if node.key in seconds]
    hours = sum(estimated) / 3600 if estimated or not left else None
    makespan_s, widest = None, max((width(node.stage) for node in left), default=1)
    if devices >= widest and not unmeasured:
        makespan_s = simulate(plan, cached, seconds, devices, devices_of=lambda node: width(node.stage)).makespan_s
    price, held = usd_per_device_hour, None if makespan_s is None else devices * makespan_s / 3600
    return Forecast(
        estimates.device,
        len(estimated),
        unmeasured,
        hours,
        devices,
        makespan_s,
        None if hours is None or price is None else hours * price,
        None if held is None or price is None else held * price,
        _works(node for node in left if estimates.is_least(node)),
    )


def _works(nodes: Iterable[Node]) -> tuple[str, ...]:
    return tuple(sorted({f"{node.labels.dataset}/{node.labels.architecture}" for node in nodes}))
