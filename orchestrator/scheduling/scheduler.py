"""What to start next on the devices that are free. Pure: it is told the time; the driver and the simulator share it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.planning.plan import Node, Plan
from orchestrator.scheduling.queue import ReadyQueue
from workers.stages import Probe

MOST_PROBES = 8  # in one group: each holds its networks at all points of the path


@dataclass(frozen=True)
class Running:
    """A group of stages that was started together.

    Attributes:
        devices: that it holds until it ends.
        ends_s: when it is expected to end; infinite if nobody knows.
    """

    devices: int
    ends_s: float


@dataclass(frozen=True)
class Reservation:
    """When a wide stage is expected to have its devices, and how many are left over then."""

    at_s: float
    spare: int


class Scheduler:
    """Starts ready stages in order of urgency, on so many devices as there are.

    A stage that needs more devices than are free is waited for: what is less urgent starts meanwhile only if it is
    expected to end before the wide stage has its devices, or needs none of them. However wrong the estimates are,
    nothing less urgent starts after the moment for which the wide stage was first expected to have its devices.

    Args:
        devices: how many a stage needs at once.
        seconds: how long a stage takes; None if nobody knows, and then it never starts before a wide one that is due.
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
        self._running: dict[str, Running] = {}
        self._busy = 0

    @property
    def running(self) -> int:
        """Groups that have been started and have not ended."""
        return len(self._running)

    @property
    def busy(self) -> int:
        """Devices that these hold."""
        return self._busy

    def start(self, room: int, now_s: float) -> list[str]:
        """Start a group: one stage, or several probes of the same data; empty when nothing may start now.

        Args:
            room: devices that there are now, free or not; a stage that needs more is passed over until they are there.
            now_s: on the clock of all other calls.

        Returns:
            Keys; the first one names the group.
        """
        free, due = room - self._busy, None
        if free < 1:
            return []
        for key in self._queue.ready():
            node = self._plan.nodes[key]
            needed = self._devices(node)
            if needed > room:
                continue
            if due is None and needed <= free:
                return self._begin(key, needed, now_s, self._share(node, room))
            if due is None:
                due = self._reserve(needed, free, now_s)
                if not now_s < due.at_s < math.inf:
                    return []
            elif needed <= free and (needed <= due.spare or now_s + self._expected_s(key) <= due.at_s):
                return self._begin(key, needed, now_s, 1)
        return []

    def ended(self, key: str) -> None:
        """The group of this name has ended, however it did, and its devices are free."""
        self._busy -= self._running.pop(key).devices

    def _begin(self, key: str, devices: int, now_s: float, stages: int) -> list[str]:
        self._queue.start(key)
        keys = [key, *self._queue.pop_like(key, stages - 1)] if stages > 1 else [key]
        self._running[key] = Running(devices, now_s + sum(self._expected_s(one) for one in keys))
        self._busy += devices
        return keys

    def _share(self, node: Node, room: int) -> int:
        """How many of the ready probes that read the same data start with this one.

        Half of what each of all devices, free or not, would get (guided self-scheduling): by and by the others will
        be free as well, and towards the end a device with eight would be waited for by all that found nothing more
        to do, and would lose the most with its machine.
        """
        if not isinstance(node.stage, Probe):
            return 1
        return min(MOST_PROBES, math.ceil(self._queue.count_like(node.key) / (2 * room)))

    def _reserve(self, needed: int, free: int, now_s: float) -> Reservation:
        at_s = now_s
        for group in sorted(self._running.values(), key=lambda group: group.ends_s):
            if free >= needed and group.ends_s > at_s:
                break
            free, at_s = free + group.devices, max(now_s, group.ends_s)
        return Reservation(at_s, free - needed)

    def _expected_s(self, key: str) -> float:
        seconds = self._seconds(self._plan.nodes[key])
        return math.inf if seconds is None else seconds
