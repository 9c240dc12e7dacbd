"""How many stages share a GPU: doubled while that pays, as far as the memory allows. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import InitVar, dataclass, field
from statistics import fmean

from orchestrator.scheduling.rank import trained_epochs
from orchestrator.store.record import Record
from workers.devices.streams import POOL

LEAST_GAIN = 1.1  # more work in a second, relative to half as many stages, that makes doubling worth it
MEMORY_SHARE = 0.9  # of the device, for all its stages
ALLOCATOR_SLACK = 1.3  # what an allocator holds over what is asked of it


@dataclass
class Packing:
    """The level, learned from how long stages took.

    Epochs of one group (a data set and an architecture) are the same work, so the time that one took alone, divided by
    the time that one took among ``level`` stages, is the speed that each of them kept.

    Attributes:
        device_bytes: memory of one GPU; None where devices are not shared, and the level is always 1.
        fixed: the user's level, which only a lack of memory changes.
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
        """Stages that may share a device now."""
        return self._level

    def observe(self, record: Record) -> None:
        """A stage was done; its record tells how long it took, with how many beside it, and its memory if alone."""
        training, made_by = record.science.get("training"), record.provenance
        device = made_by.get("device", "cpu")
        gang = (training or {}).get("gang", {})
        if device.startswith("cpu") or gang.get("ranks", 1) > 1:  # a gang shares its GPUs with nobody
            return
        beside, peak_bytes = made_by.get("stages_beside", 0), made_by.get("peak_memory_bytes")
        self._peak_bytes = max(self._peak_bytes, peak_bytes or 0)
        if training is not None and record.attempt == 1:  # probes come in groups, and a resumed stage did a part only
            group = (record.labels.dataset, record.labels.architecture, device)
            self.learn(group, record.seconds / trained_epochs(training), beside, peak_bytes)

    def learn(self, group: Hashable, seconds: float, beside: int, peak_bytes: int | None) -> None:
        """An epoch of a stage of this group took so long with so many beside it.

        Args:
            peak_bytes: the most memory that it held, known of a stage that had the device to itself.
        """
        if beside == 0:
            self._alone[group].append(seconds)
            self._peak_bytes = max(self._peak_bytes, peak_bytes or 0)
        elif group in self._alone:
            self._speeds[beside + 1].append(fmean(self._alone[group]) / seconds)
        self._decide()

    def crowded(self, level: int) -> None:
        """A stage that was started at this level ran out of memory: half as many, for good."""
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
        """Work in a second, in stages that have the device to themselves."""
        return level * fmean(self._speeds[level]) if level > 1 else 1.0

    def _fits(self, stages: int) -> bool:
        if not self._peak_bytes or self.device_bytes is None:
            return False
        return stages <= POOL and stages * self._peak_bytes * ALLOCATOR_SLACK <= MEMORY_SHARE * self.device_bytes
