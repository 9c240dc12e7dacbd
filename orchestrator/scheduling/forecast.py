"""Forecast the rest of a plan: time, device-hours and cost. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.planning.plan import Node, Plan
from orchestrator.scheduling.estimate import Estimates, trained_on
from orchestrator.scheduling.simulation import SimulatedCluster
from workers.stages import Imported
from workers.stages.kinds import width


@dataclass(frozen=True)
class StudyForecast:
    """The remaining work of one data set and architecture, such as "cifar10/resnet20". Unknown values are None."""

    name: str
    stages: int
    device_hours: float | None
    cost_usd: float | None


@dataclass(frozen=True)
class Forecast:
    """The remaining work of a plan, with one stage at a time on each device. Unknown values are None.

    Attributes:
        measured_on: the device whose records gave the durations; None if all of them are stated.
        estimated_stages: number of remaining stages with an estimated duration.
        unmeasured: pairs of data set and architecture without measurements, such as "cifar10/resnet20".
        device_hours: of the estimated stages; these are all remaining stages if ``unmeasured`` is empty.
        devices: number of devices.
        makespan_s: simulated time to the end; None if any work is unmeasured, or a stage needs more devices.
        cost_usd: price of the device-hours.
        held_cost_usd: price of all devices for the makespan, since a sweep holds a cluster's devices until it ends.
        studies: the same by pair of data set and architecture; a pair with unmeasured work has no hours.
        at_least: pairs of which only resumed stages were measured, so that hours, makespan and cost are lower bounds.
        stated: pairs without measurements of some work, whose durations the user stated.
    """

    measured_on: str | None
    estimated_stages: int
    unmeasured: tuple[str, ...]
    device_hours: float | None
    devices: int
    makespan_s: float | None
    cost_usd: float | None
    held_cost_usd: float | None
    studies: tuple[StudyForecast, ...]
    at_least: tuple[str, ...]
    stated: tuple[str, ...]


def forecast(
    plan: Plan, cached: Collection[str], estimates: Estimates, devices: int, usd_per_device_hour: float | None = None
) -> Forecast:
    """Forecast the stages that are not cached, on ``devices`` devices."""
    seconds = estimates.of(plan)
    remaining = [node for node in plan if node.key not in cached and not isinstance(node.stage, Imported)]
    unmeasured = _works(node for node in remaining if node.key not in seconds)
    estimated = [seconds[node.key] * width(node.stage) for node in remaining if node.key in seconds]
    hours = sum(estimated) / 3600 if estimated or not remaining else None
    makespan_s, widest = None, max((width(node.stage) for node in remaining), default=1)
    if devices >= widest and not unmeasured:
        cluster = SimulatedCluster(plan, cached, seconds, devices, lambda node: width(node.stage))
        makespan_s = cluster.run().makespan_s
    held_hours, price = None if makespan_s is None else devices * makespan_s / 3600, usd_per_device_hour
    cost, held_cost = (None if each is None or price is None else each * price for each in (hours, held_hours))
    at_least = _works(node for node in remaining if estimates.is_least(node))
    stated = [node for node in remaining if estimates.is_stated(node)]
    studies = tuple(_study(name, nodes, seconds, price) for name, nodes in _by_work(remaining).items())
    stages = len(estimated)
    device = None if stated and len(stated) == stages else estimates.device
    of_user = _works(stated)
    return Forecast(device, stages, unmeasured, hours, devices, makespan_s, cost, held_cost, studies, at_least, of_user)


def _study(name: str, nodes: Sequence[Node], seconds: Mapping[str, float], price: float | None) -> StudyForecast:
    known = all(node.key in seconds for node in nodes)
    hours = sum(seconds[node.key] * width(node.stage) for node in nodes) / 3600 if known else None
    return StudyForecast(name, len(nodes), hours, None if hours is None or price is None else hours * price)


def _works(nodes: Iterable[Node]) -> tuple[str, ...]:
    return tuple(_by_work(nodes))


def _by_work(nodes: Iterable[Node]) -> dict[str, list[Node]]:
    """Group stages by data set and architecture, sorted."""
    groups: dict[str, list[Node]] = {}
    for node in nodes:
        groups.setdefault(trained_on(node), []).append(node)
    return dict(sorted(groups.items()))
