"""Simulated sweeps on devices that are preempted at random and come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

from orchestrator.planning.plan import Plan
from orchestrator.scheduling.simulation import Group, SimulatedCluster
from workers.stages import PairProbe, Probe


@dataclass(frozen=True)
class Preemptions:
    """Random preemptions: each device is taken away by a Poisson process of its own.

    Attributes:
        every_s: mean time that a device stays.
        away_s: time until the device, or its replacement, is available.
        checkpoint_interval_s: a training loses its work since its last checkpoint; a probe loses all of its work.
    """

    every_s: float
    away_s: float
    checkpoint_interval_s: float
    seed: int = 0


class PreemptedCluster(SimulatedCluster):
    """A simulated cluster with preemptions.

    Attributes:
        preempted: number of stages that have lost their device.
    """

    def __init__(self, plan: Plan, seconds: Mapping[str, float], devices: int, preemptions: Preemptions) -> None:
        super().__init__(plan, (), seconds, devices)
        self.preempted = 0
        self._preemptions, self._random = preemptions, Random(preemptions.seed)
        for device in range(devices):
            self._schedule_preemption(device)

    def _schedule_preemption(self, device: int) -> None:
        self.schedule(self._random.expovariate(1 / self._preemptions.every_s), partial(self._preempt, device))

    def _preempt(self, device: int) -> bool:
        group = self.group_on.get(device)
        if group is not None:
            self.release(group)
            self._keep_checkpointed_work(group)
            for key in group.keys:
                self.queue.requeue(key)
            self.preempted += len(group.keys)
        self.free.remove(device)
        self.capacity -= 1
        self.schedule(self._preemptions.away_s, partial(self._return, device))
        return True

    def _keep_checkpointed_work(self, group: Group) -> None:
        key, interval_s = group.keys[0], self._preemptions.checkpoint_interval_s
        if not isinstance(self.plan.nodes[key].stage, Probe | PairProbe):
            ran_s = self.now_s - group.began_s
            self.remaining_s[key] -= ran_s // interval_s * interval_s if interval_s else ran_s

    def _return(self, device: int) -> bool:
        self.free.append(device)
        self.capacity += 1
        self._schedule_preemption(device)
        return True
