"""Estimate the durations of stages from records; work that was never measured has no estimate. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from statistics import median

from orchestrator.planning.plan import Node, Plan
from orchestrator.scheduling.rank import cost_epochs, recorded_epochs, upward_rank
from orchestrator.store.record import Record
from workers.stages import IMAGE_SIZE, Imported, Landscape, PairProbe, Probe
from workers.stages.kinds import width

Work = tuple[str, str, int, str, int, bool]
"""Data set, architecture, image size, precision, ranks of a gang, whether compiled: equal work takes about equal time.
"""
Group = tuple[str, Work]
"""A kind of stage, and its work."""


class Estimates:
    """Estimated durations of stages on one kind of device.

    An estimate is the stage's cost in epochs, times the median duration of an epoch in stages of the same kind, data
    set, architecture, image size, precision and ranks, compiled or not; if there are none, in trainings of the same
    work. Times are never carried over to other work, except from compiled trainings to probes, which are never
    compiled. A stage that shared a GPU counts with its share, and only if no stage of its group
    ran alone. Resumed stages count only if there are no others, by the longest: a record holds the duration of its last
    attempt, which is at most the stage's.

    Args:
        records: records of a store.
        device: the device's name in the records; None takes the device of most records.
        stated: seconds of a training's epoch by data set and architecture, such as "cifar10/resnet20", for work that
            was not measured.

    Attributes:
        device: the device that the estimates are for; None without records.
    """

    def __init__(
        self, records: Iterable[Record], device: str | None = None, stated: Mapping[str, float] | None = None
    ) -> None:
        measured = [record for record in records if record.kind != Imported.kind]  # copied, on no device
        whole = [record for record in measured if record.attempt == 1]
        devices = Counter(record.provenance.get("device") for record in whole or measured)
        self.device = device or max(devices, key=lambda name: devices[name], default=None)
        alone: dict[Group, list[float]] = defaultdict(list)
        shared: dict[Group, list[float]] = defaultdict(list)
        resumed: dict[Group, list[float]] = defaultdict(list)
        for record in measured:
            if record.provenance.get("device") != self.device:
                continue
            sharing = 1 + record.provenance.get("stages_beside", 0)
            group = record.kind, recorded_work(record)
            times = resumed if record.attempt > 1 else shared if sharing > 1 else alone
            times[group].append(record.seconds / sharing / recorded_epochs(record))
        self._typical = _Epochs({group: median(times) for group, times in {**shared, **alone}.items()})
        self._least = _Epochs({group: max(times) for group, times in resumed.items()})
        self._stated = stated or {}

    def seconds(self, node: Node) -> float | None:
        """Duration of a stage that has its devices to itself; None if no such work was measured or stated."""
        measured_s = self._measured_epoch_s(node)
        epoch_s = self._stated.get(trained_on(node)) if measured_s is None else measured_s
        return None if epoch_s is None else epoch_s * cost_epochs(node.stage)

    def is_least(self, node: Node) -> bool:
        """Whether ``seconds`` is a lower bound, because only resumed stages of this work were measured."""
        return self._typical.seconds(node) is None and self._least.seconds(node) is not None

    def is_stated(self, node: Node) -> bool:
        """Whether ``seconds`` comes from a stated duration, because no such work was measured."""
        return self._measured_epoch_s(node) is None and trained_on(node) in self._stated

    def _measured_epoch_s(self, node: Node) -> float | None:
        typical_s = self._typical.seconds(node)
        return self._least.seconds(node) if typical_s is None else typical_s

    def of(self, plan: Plan) -> dict[str, float]:
        """Seconds by key, for stages with an estimate."""
        return {node.key: seconds for node in plan if (seconds := self.seconds(node)) is not None}

    def rank(self, plan: Plan) -> dict[str, float]:
        """The upward rank: in seconds if every stage has an estimate, else in epochs."""
        seconds = self.of(plan)
        return upward_rank(plan, lambda node: seconds[node.key]) if len(seconds) == len(plan) else upward_rank(plan)


class _Epochs:
    """Seconds of an epoch by kind of stage and work; an unmeasured kind takes those of the work's trainings."""

    def __init__(self, of_kind: dict[Group, float]) -> None:
        self._of_kind = of_kind
        trainings: dict[Work, list[float]] = defaultdict(list)
        for (kind, work), seconds in of_kind.items():
            if kind not in (Probe.kind, PairProbe.kind, Landscape.kind):
                trainings[work].append(seconds)
        self._of_training = {work: median(times) for work, times in trainings.items()}

    def seconds(self, node: Node) -> float | None:
        if isinstance(node.stage, Imported):
            return 0.0
        setting = node.stage.setting
        of_images = setting.data.image_size, setting.precision
        trained = None if isinstance(node.stage, Probe | PairProbe | Landscape) else node.stage.training
        of_network = node.labels.dataset, node.labels.architecture, *of_images, width(node.stage)
        work: Work = (*of_network, bool(trained and trained.compiled))
        epoch_s = self._of_kind.get((node.stage.kind, work), self._of_training.get(work))
        return self._of_training.get((*of_network, True)) if epoch_s is None and trained is None else epoch_s


def trained_on(node: Node) -> str:
    """A stage's data set and architecture, such as "cifar10/resnet20"."""
    return f"{node.labels.dataset}/{node.labels.architecture}"


def recorded_work(record: Record) -> Work:
    """Return the work of a record; one of an earlier version may lack fields, which were at their defaults."""
    setting = record.science.get("setting", {})
    of_images = setting.get("data", {}).get("image_size", IMAGE_SIZE), setting.get("precision", "float32")
    training = record.science.get("training", {})
    ranks, compiled = training.get("gang", {}).get("ranks", 1), training.get("compiled", False)
    return record.labels.dataset, record.labels.architecture, *of_images, ranks, compiled
