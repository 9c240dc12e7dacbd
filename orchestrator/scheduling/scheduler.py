"""The scheduler: which stages start next on the free devices. Pure; the driver and the simulator share it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.planning.plan import Node, Plan
from orchestrator.scheduling.queue import MOST_PROBES, ReadyQueue
from workers.stages import Probe

SPARE_STAGES = 2  # of the longest, that an urgent stage keeps in hand


@dataclass(frozen=True)
class Reserved:
    """Number of devices that a running group of stages holds, and the group's expected end; infinite if unknown."""

    devices: int
    ends_s: float


class Scheduler:
    """Start ready stages in order of urgency, with back-filling; barriers come early where that costs no time.

    While the devices have more work left than the most urgent stage's path takes, that stage can wait. Then the stages
    that the nearest probe needs start first, and that probe.

    A wide stage, which needs more devices than are free, reserves them. Less urgent stages start meanwhile only if they
    are expected to end before the wide stage has its devices, or need none of those. However wrong the estimates are,
    no less urgent stage starts after the time at which the wide stage was first expected to start.

    Args:
        devices: number of devices that a stage needs at once.
        seconds: expected duration of a stage; None if unknown: such a stage never starts before a wide one that waits.
    """

    def __init__(
        self,
        plan: Plan,
        queue: ReadyQueue,
        devices: Callable[[Node], int] = lambda node: 1,
        seconds: Callable[[Node], float | None] = lambda node: None,
    ) -> None:
        self._plan, self._queue = plan, queue
        self._devices, self._seconds = devices, seconds
        self._reserved: dict[str, Reserved] = {}
        self._longest = max(queue.cost.values(), default=0.0)

    @property
    def running(self) -> int:
        """Number of running groups."""
        return len(self._reserved)

    @property
    def busy(self) -> int:
        """Number of devices that running groups hold."""
        return sum(group.devices for group in self._reserved.values())

    def start(self, capacity: int, now_s: float) -> list[str]:
        """Start a group: one stage, or several probes with the same settings.

        Args:
            capacity: devices that exist now, free or busy; a stage that needs more is skipped.
            now_s: the time, on one clock for all calls.

        Returns:
            Keys of the group's stages, the first of which names the group; empty if no stage may start now.
        """
        free = capacity - self.busy
        due_s, spare = None, 0  # when a waiting wide stage expects its devices, and how many are left over then
        if free < 1:
            return []
        for key in self._queue.ready():
            node = self._plan.nodes[key]
            needed = self._devices(node)
            if needed > capacity:
                continue
            if due_s is None and needed <= free:
                return self._begin_early(key, free, capacity, now_s) or self._begin(
                    key, needed, now_s, self._group_size(node, capacity)
                )
            if due_s is None:
                due_s, spare = self._reserve(needed, free, now_s)
                if not now_s < due_s < math.inf:
                    return []
            elif needed <= free and (needed <= spare or now_s + self._expected_s(key) <= due_s):
                return self._begin(key, needed, now_s, 1)
        return []

    def ended(self, key: str) -> None:
        """Free the devices of a group that has ended, successfully or not."""
        del self._reserved[key]

    def _begin_early(self, urgent: str, free: int, capacity: int, now_s: float) -> list[str]:
        """Start what leads to the nearest probe, if the most urgent ready stage can wait for it.

        It can if its path is shorter than all devices take for the work that is left, by more than two of the longest
        stages: that much may be lost at the end, where the last stages do not fill all devices.
        """
        early = self._queue.towards_a_probe()
        if early is None or (needed := self._devices(self._plan.nodes[early])) > free:
            return []
        if needed < self._devices(self._plan.nodes[urgent]) and math.isinf(self._expected_s(early)):
            return []  # an unknown duration might keep the devices of a wide stage
        is_probe = isinstance(self._plan.nodes[early].stage, Probe)
        stages = min(MOST_PROBES, self._queue.count_like(early)) if is_probe else 1
        delay = stages * self._queue.cost[early]
        spare = self._queue.unstarted / capacity - self._queue.rank[urgent] - SPARE_STAGES * self._longest
        if delay < spare:
            return self._begin(early, needed, now_s, stages)
        return []

    def _begin(self, key: str, devices: int, now_s: float, stages: int) -> list[str]:
        self._queue.start(key)
        keys = [key, *self._queue.pop_like(key, stages - 1)] if stages > 1 else [key]
        self._reserved[key] = Reserved(devices, now_s + sum(self._expected_s(each) for each in keys))
        return keys

    def _group_size(self, node: Node, capacity: int) -> int:
        """Number of stages that start together: several for a probe, whose group reads the data once.

        A probe's group is half of an equal share for every device (guided self-scheduling). Smaller groups at the end
        keep all devices busy until the last probe, and lose less with a preempted machine.
        """
        if not isinstance(node.stage, Probe):
            return 1
        return min(MOST_PROBES, math.ceil(self._queue.count_like(node.key) / (2 * capacity)))

    def _reserve(self, needed: int, free: int, now_s: float) -> tuple[float, int]:
        at_s = now_s
        for group in sorted(self._reserved.values(), key=lambda group: group.ends_s):
            if free >= needed and group.ends_s > at_s:
                break
            free, at_s = free + group.devices, max(now_s, group.ends_s)
        return at_s, free - needed

    def _expected_s(self, key: str) -> float:
        seconds = self._seconds(self._plan.nodes[key])
        return math.inf if seconds is None else seconds
