"""Simulate a sweep: the driver's scheduler on estimated durations, without the work. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

from orchestrator.planning.plan import Node, Plan
from orchestrator.scheduling.queue import ReadyQueue
from orchestrator.scheduling.rank import upward_rank
from orchestrator.scheduling.scheduler import Scheduler


@dataclass(frozen=True)
class Simulation:
    """The result of a simulated sweep.

    Attributes:
        makespan_s: from the start of the sweep to the end of its last stage.
        work_s: device-seconds of all stages, without repeated work.
        critical_path_s: length of the longest chain of dependent stages.
        lower_bound_s: no order of the stages ends sooner on this number of devices.
        busy_fraction: share of all device time during which a device holds a stage.
        ended_s: when each stage ended, by key.
    """

    makespan_s: float
    work_s: float
    critical_path_s: float
    lower_bound_s: float
    busy_fraction: float
    ended_s: dict[str, float]


@dataclass
class Group:
    """Stages that run one after another on the same devices."""

    keys: list[str]
    devices: list[int]
    began_s: float


class SimulatedCluster:
    """Numbered devices and a clock that jumps from event to event; each device holds one group of stages at a time.

    Args:
        cached: keys of the stages that are done.
        seconds: duration of each stage by key; cached stages may be left out.
        devices_of: number of devices that a stage needs at once.

    Raises:
        ValueError: there is no device, or a stage needs more devices than there are.
    """

    def __init__(
        self,
        plan: Plan,
        cached: Collection[str],
        seconds: Mapping[str, float],
        devices: int,
        devices_of: Callable[[Node], int] = lambda node: 1,
    ) -> None:
        self.plan = plan
        self._to_run = [node for node in plan if node.key not in cached]
        widest = max((devices_of(node) for node in self._to_run), default=1)
        if devices < widest:
            raise ValueError(f"{devices} devices are fewer than the {widest} that a stage needs")
        self._seconds, self._devices, self._devices_of = seconds, devices, devices_of
        self.remaining_s = dict(seconds)
        rank = upward_rank(plan, lambda node: seconds.get(node.key, 0.0))
        self.queue = ReadyQueue(plan, rank, cached)
        self._scheduler = Scheduler(plan, self.queue, devices_of, lambda node: self.remaining_s[node.key])
        self.capacity = devices
        self.free = list(range(devices))
        self.group_on: dict[int, Group] = {}
        self.now_s = 0.0
        self._busy_s = 0.0
        self._ended_s: dict[str, float] = {}
        # (time, order of scheduling, event); an event returns whether stages may be able to start after it
        self._events: list[tuple[float, int, Callable[[], bool]]] = []
        self._scheduled = 0

    def run(self) -> Simulation:
        """Run until every stage has ended."""
        self._start_ready()
        while self.queue.active:
            self.now_s, _, event = heapq.heappop(self._events)
            if event():
                self._start_ready()
        work_s = sum(self._seconds[node.key] * self._devices_of(node) for node in self._to_run)
        ends_s: dict[str, float] = {}  # on unlimited devices; cached inputs end at 0
        for node in self._to_run:
            begin_s = max((ends_s.get(upstream, 0.0) for upstream in node.inputs.values()), default=0.0)
            ends_s[node.key] = self._seconds[node.key] + begin_s
        critical_path_s = max(ends_s.values(), default=0.0)
        lower_bound_s = max(critical_path_s, work_s / self._devices)
        busy_fraction = self._busy_s / (self.now_s * self._devices) if self.now_s else 0.0
        return Simulation(self.now_s, work_s, critical_path_s, lower_bound_s, busy_fraction, self._ended_s)

    def schedule(self, delay_s: float, event: Callable[[], bool]) -> None:
        """Let an event happen after a delay."""
        heapq.heappush(self._events, (self.now_s + delay_s, self._scheduled, event))
        self._scheduled += 1

    def release(self, group: Group) -> None:
        """Free a group's devices."""
        self._scheduler.ended(group.keys[0])
        self._busy_s += (self.now_s - group.began_s) * len(group.devices)
        for device in group.devices:
            del self.group_on[device]
        self.free += group.devices

    def _start_ready(self) -> None:
        while keys := self._scheduler.start(self.capacity, self.now_s):
            needed = self._devices_of(self.plan.nodes[keys[0]])
            group = Group(keys, [self.free.pop() for _ in range(needed)], self.now_s)
            self.group_on.update(dict.fromkeys(group.devices, group))
            self.schedule(sum(self.remaining_s[key] for key in keys), partial(self._end, group))

    def _end(self, group: Group) -> bool:
        if self.group_on.get(group.devices[0]) is not group:  # released before its end
            return False
        self.release(group)
        for key in group.keys:
            self.queue.done(key)
            self._ended_s[key] = self.now_s
        return True
