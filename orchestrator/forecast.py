"""What the rest of a plan will take on the devices at hand: time, device-hours, money. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from orchestrator.estimate import Estimates
from orchestrator.gangs import width
from orchestrator.plan import Plan
from orchestrator.simulation import simulate


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
    """

    measured_on: str | None
    estimated_stages: int
    unmeasured: tuple[str, ...]
    device_hours: float | None
    devices: int
    makespan_s: float | None
    cost_usd: float | None


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
    unmeasured = {f"{n.labels.dataset}/{n.labels.architecture}" for n in left if n.key not in seconds}
    estimated = [seconds[node.key] * width(node.stage) for node in left if node.key in seconds]
    hours = sum(estimated) / 3600 if estimated or not left else None
    makespan_s, widest = None, max((width(node.stage) for node in left), default=1)
    if devices >= widest and not unmeasured:
        makespan_s = simulate(plan, cached, seconds, devices, devices_of=lambda node: width(node.stage)).makespan_s
    return Forecast(
        estimates.device,
        len(estimated),
        tuple(sorted(unmeasured)),
        hours,
        devices,
        makespan_s,
        None if hours is None or usd_per_device_hour is None else hours * usd_per_device_hour,
    )
