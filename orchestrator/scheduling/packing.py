"""Packing: how many stages share a GPU. The number doubles while throughput grows and memory suffices. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import InitVar, dataclass, field
from statistics import fmean

from orchestrator.scheduling.estimate import recorded_work
from orchestrator.scheduling.rank import recorded_epochs
from orchestrator.store.record import Record
from workers.devices.streams import POOL

LEAST_GAIN = 1.1  # least throughput of a doubled level, relative to half the level, to keep it
MEMORY_SHARE = 0.9  # of a device's memory, for all its stages
ALLOCATOR_SLACK = 1.3  # memory that an allocator holds, relative to the memory in use


@dataclass
class Packing:
    """The packing level, learned from the durations of stages.

    Epochs of one group are equal work (``orchestrator.scheduling.estimate.Work``). So the duration of an epoch alone,
    divided by its duration among ``level`` stages, is the relative speed of each stage at that level.

    Attributes:
        device_bytes: memory of one GPU; None where stages do not share devices, and the level is always 1.
        fixed: the user's level, which only running out of memory lowers.
    """

    device_bytes: int | None
    fixed: InitVar[int | None] = None
    _level: int = field(init=False, default=1)
    _settled: bool = field(init=False, default=False)
    _alone: dict[Hashable, list[float]] = field(init=False, default_factory=lambda: defaultdict(list))
    _speeds: dict[int, list[float]] = field(init=False, default_factory=lambda: defaultdict(list))
    _peak_bytes: int = field(init=False, default=0)

    def __post_init__(self, fixed: int | None) -> None:
        if self.device_bytes is None or fixed:
            self._level, self._settled = fixed or 1, True

    @property
    def level(self) -> int:
        """Number of stages that may share a device now."""
        return self._level

    def observe(self, record: Record) -> None:
        """Learn from a record: its duration, the stages beside it, and its peak memory if it ran alone."""
        training, provenance = record.science.get("training"), record.provenance
        device = provenance.get("device", "cpu")
        gang = (training or {}).get("gang", {})
        if device.startswith("cpu") or gang.get("ranks", 1) > 1:  # a gang has its GPUs to itself
            return
        beside, peak_bytes = provenance.get("stages_beside", 0), provenance.get("peak_memory_bytes")
        self._peak_bytes = max(self._peak_bytes, peak_bytes or 0)
        # probes run in groups, and a resumed attempt did a part of the work
        if training is not None and record.attempt == 1:
            group = recorded_work(record), device
            self.learn(group, record.seconds / recorded_epochs(record), beside, peak_bytes)

    def learn(self, group: Hashable, seconds: float, beside: int, peak_bytes: int | None) -> None:
        """Learn the seconds of an epoch of this group with ``beside`` other stages; alone, also the peak memory."""
        if beside == 0:
            self._alone[group].append(seconds)
            self._peak_bytes = max(self._peak_bytes, peak_bytes or 0)
        elif group in self._alone:
            self._speeds[beside + 1].append(fmean(self._alone[group]) / seconds)
        self._decide()

    def crowded(self, level: int) -> None:
        """Halve the level for good, after a stage that started at it ran out of memory."""
        self._level, self._settled = min(self._level, max(1, level // 2)), True

    def _decide(self) -> None:
        if self._settled or not self._alone:
            return
        if self._level > 1:
            if len(self._speeds[self._level]) < self._level:
                return
            if self._gain(self._level) < LEAST_GAIN * self._gain(self._level // 2):
                self._level //= 2
                self._settled = True
                return
        if self._fits(2 * self._level):
            self._level *= 2

    def _gain(self, level: int) -> float:
        """Throughput at a level, relative to one stage alone."""
        return level * fmean(self._speeds[level]) if level > 1 else 1.0

    def _fits(self, stages: int) -> bool:
        if not self._peak_bytes or self.device_bytes is None:
            return False
        return stages <= POOL and stages * self._peak_bytes * ALLOCATOR_SLACK <= MEMORY_SHARE * self.device_bytes
