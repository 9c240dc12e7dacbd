"""A sweep without its work: the driver's scheduler on estimated durations, and devices that may be taken away. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

from orchestrator.planning.plan import Node, Plan
from orchestrator.scheduling.queue import ReadyQueue
from orchestrator.scheduling.rank import upward_rank
from orchestrator.scheduling.scheduler import Scheduler
from workers.stages import PairProbe, Probe


@dataclass(frozen=True)
class Preemptions:
    """Devices that are taken away at random, each by a Poisson process of its own, and come back.

    Attributes:
        every_s: mean time that a device stays.
        away_s: until it is back, or another in its place.
        checkpoint_interval_s: a training loses what it did since its last checkpoint; probes keep none.
    """

    every_s: float
    away_s: float
    checkpoint_interval_s: float
    seed: int = 0


@dataclass(frozen=True)
class Simulation:
    """What became of a simulated sweep.

    Attributes:
        makespan_s: from its start to its last stage's end.
        work_s: device-seconds of all stages, had nothing been lost.
        critical_path_s: of the longest chain of stages that wait for each other.
        lower_bound_s: no order of the stages ends sooner on so many devices, preempted or not.
        busy_fraction: share of all devices' time in which they held a stage.
        preempted: how many stages lost their device.
    """

    makespan_s: float
    work_s: float
    critical_path_s: float
    lower_bound_s: float
    busy_fraction: float
    preempted: int


def simulate(
    plan: Plan,
    cached: Collection[str],
    seconds: Mapping[str, float],
    devices: int,
    preemptions: Preemptions | None = None,
    devices_of: Callable[[Node], int] = lambda node: 1,
) -> Simulation:
    """Run what is not cached on so many devices, one stage at a time on each.

    Args:
        seconds: how long each stage takes, by key; cached ones may be left out.
        devices_of: how many a stage needs at once.

    Raises:
        ValueError: there is no device, or a stage needs more than there are.
    """
    left = [node for node in plan if node.key not in cached]
    widest = max((devices_of(node) for node in left), default=1)
    if devices < widest:
        raise ValueError(f"{devices} devices are fewer than the {widest} that a stage needs")
    rank = upward_rank(plan, lambda node: seconds.get(node.key, 0.0))
    work_s = sum(seconds[node.key] * devices_of(node) for node in left)
    critical_path_s = _critical_path_s(left, seconds)
    cluster = _Cluster(plan, ReadyQueue(plan, rank, cached), seconds, devices, preemptions, devices_of)
    makespan_s = cluster.run()
    return Simulation(
        makespan_s,
        work_s,
        critical_path_s,
        max(critical_path_s, work_s / devices),
        cluster.busy_s / (makespan_s * devices) if makespan_s else 0.0,
        cluster.preempted,
    )


def _critical_path_s(left: Iterable[Node], seconds: Mapping[str, float]) -> float:
    ends: dict[str, float] = {}  # with devices without end; a cached input is there from the start
    for node in left:
        ends[node.key] = seconds[node.key] + max((ends.get(up, 0.0) for up in node.inputs.values()), default=0.0)
    return max(ends.values(), default=0.0)


@dataclass
class _Group:
    """Stages on their devices."""

    keys: list[str]
    devices: list[int]
    began_s: float


class _Cluster:
    """Devices by number, and what happens to them in the order of time."""

    def __init__(
        self,
        plan: Plan,
        queue: ReadyQueue,
        seconds: Mapping[str, float],
        devices: int,
        preemptions: Preemptions | None,
        devices_of: Callable[[Node], int],
    ) -> None:
        self.busy_s, self.preempted = 0.0, 0
        self._plan, self._queue, self._devices_of = plan, queue, devices_of
        self._left_s = dict(seconds)
        self._schedule = Scheduler(plan, queue, devices_of, lambda node: self._left_s[node.key])
        self._preemptions = preemptions
        self._random = Random(preemptions.seed if preemptions else 0)
        self._free = list(range(devices))
        self._room = devices
        self._holds: dict[int, _Group] = {}
        # (when, which came first, what); a preempted group's end stays, and is passed over
        self._events: list[tuple[float, int, Callable[[], bool]]] = []
        self._planned = 0
        self._now_s = 0.0
        for device in range(devices if preemptions else 0):
            self._plan_preemption(device)

    def run(self) -> float:
        """Seconds until nothing is left."""
        self._start_what_fits()
        while self._queue.active:
            self._now_s, _, event = heapq.heappop(self._events)
            if event():
                self._start_what_fits()
        return self._now_s

    def _start_what_fits(self) -> None:
        while keys := self._schedule.start(self._room, self._now_s):
            needed = self._devices_of(self._plan.nodes[keys[0]])
            group = _Group(keys, [self._free.pop() for _ in range(needed)], self._now_s)
            self._holds.update(dict.fromkeys(group.devices, group))
            self._at(sum(self._left_s[key] for key in keys), partial(self._end, group))

    def _at(self, delay_s: float, event: Callable[[], bool]) -> None:
        heapq.heappush(self._events, (self._now_s + delay_s, self._planned, event))
        self._planned += 1

    def _end(self, group: _Group) -> bool:
        if self._holds.get(group.devices[0]) is not group:
            return False
        self._release(group)
        for key in group.keys:
            self._queue.done(key)
        return True

    def _release(self, group: _Group) -> None:
        self._schedule.ended(group.keys[0])
        self.busy_s += (self._now_s - group.began_s) * len(group.devices)
        for device in group.devices:
            del self._holds[device]
        self._free += group.devices

    def _plan_preemption(self, device: int) -> None:
        assert self._preemptions is not None
        self._at(self._random.expovariate(1 / self._preemptions.every_s), partial(self._take, device))

    def _take(self, device: int) -> bool:
        assert self._preemptions is not None
        group = self._holds.get(device)
        if group is not None:
            self._release(group)
            self._keep_checkpoint(group, self._preemptions.checkpoint_interval_s)
            for key in group.keys:
                self._queue.requeue(key)
            self.preempted += len(group.keys)
        self._free.remove(device)
        self._room -= 1
        self._at(self._preemptions.away_s, partial(self._give_back, device))
        return True

    def _keep_checkpoint(self, group: _Group, interval_s: float) -> None:
        key = group.keys[0]
        if not isinstance(self._plan.nodes[key].stage, Probe | PairProbe):
            ran_s = self._now_s - group.began_s
            self._left_s[key] -= ran_s // interval_s * interval_s if interval_s else ran_s

    def _give_back(self, device: int) -> bool:
        self._free.append(device)
        self._room += 1
        self._plan_preemption(device)
        return True
