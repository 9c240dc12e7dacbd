"""How long stages take, from those that were measured. Pure. What was never measured has no estimate."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from statistics import median

from orchestrator.planning.plan import Node, Plan
from orchestrator.scheduling.rank import (
    EPOCHS_OF_A_PAIR_PROBE,
    EPOCHS_OF_A_PROBE_POINT,
    cost_epochs,
    trained_epochs,
    upward_rank,
)
from orchestrator.store.record import Record
from workers.stages import Landscape, PairProbe, Probe
from workers.stages.kinds import width

Work = tuple[str, str, int]
"""A data set, an architecture, and the ranks of a gang: epochs of one take about the same time."""


Group = tuple[str, Work]
"""A kind of stage and its work."""


class Estimates:
    """Seconds of stages on one kind of device.

    A stage's cost in epochs times the median seconds of one, in stages of the same kind, data set and architecture;
    where there are none, in trainings of the same data set and architecture. A time is never carried over to other data
    or another architecture. Stages that shared a GPU count with their share of it, and only if none had it to itself.
    Resumed stages count only where nothing else says anything, and with the longest of them: their records tell of the
    last attempt, so that each took at least as long.

    Args:
        records: of a store.
        device: as records name it; None for the one that most of them were made on.

    Attributes:
        device: the one of the estimates; None if nothing was measured.
    """

    def __init__(self, records: Iterable[Record], device: str | None = None) -> None:
        measured = list(records)
        whole = [record for record in measured if record.attempt == 1]
        made_on = Counter(record.provenance.get("device") for record in whole or measured)
        self.device = device or max(made_on, key=lambda name: made_on[name], default=None)
        alone: dict[Group, list[float]] = defaultdict(list)
        shared: dict[Group, list[float]] = defaultdict(list)
        resumed: dict[Group, list[float]] = defaultdict(list)
        for record in measured:
            if record.provenance.get("device") != self.device:
                continue
            sharing = 1 + record.provenance.get("stages_beside", 0)
            ranks = record.science.get("training", {}).get("gang", {}).get("ranks", 1)
            group = record.kind, (record.labels.dataset, record.labels.architecture, ranks)
            times = resumed if record.attempt > 1 else shared if sharing > 1 else alone
            times[group].append(record.seconds / sharing / _epochs(record))
        self._typical = _Epochs({group: median(times) for group, times in {**shared, **alone}.items()})
        self._least = _Epochs({group: max(times) for group, times in resumed.items()})

    def seconds(self, node: Node) -> float | None:
        """How long a stage takes that has its devices to itself; None if nothing like it was measured."""
        of_an_epoch = self._typical.seconds(node)
        if of_an_epoch is None:
            of_an_epoch = self._least.seconds(node)
        return None if of_an_epoch is None else of_an_epoch * cost_epochs(node.stage)

    def is_least(self, node: Node) -> bool:
        """Whether ``seconds`` is the least that a stage takes, since only resumed ones like it were measured."""
        return self._typical.seconds(node) is None and self._least.seconds(node) is not None

    def of(self, plan: Plan) -> dict[str, float]:
        """Seconds by key, of the stages that have an estimate."""
        return {node.key: seconds for node in plan if (seconds := self.seconds(node)) is not None}

    def rank(self, plan: Plan) -> dict[str, float]:
        """The upward rank in seconds, or in epochs unless every stage has an estimate: the two do not compare."""
        seconds = self.of(plan)
        return upward_rank(plan, lambda node: seconds[node.key]) if len(seconds) == len(plan) else upward_rank(plan)


class _Epochs:
    """Seconds of an epoch by kind of stage and work; of a kind that was not measured, those of the work's trainings."""

    def __init__(self, of_kind: dict[Group, float]) -> None:
        self._of_kind = of_kind
        trainings: dict[Work, list[float]] = defaultdict(list)
        for (kind, work), seconds in of_kind.items():
            if kind not in (Probe.kind, PairProbe.kind, Landscape.kind):
                trainings[work].append(seconds)
        self._of_training = {work: median(times) for work, times in trainings.items()}

    def seconds(self, node: Node) -> float | None:
        work = node.labels.dataset, node.labels.architecture, width(node.stage)
        return self._of_kind.get((node.stage.kind, work), self._of_training.get(work))


def _epochs(record: Record) -> float:
    """What was done, as ``rank.cost_epochs`` counts it."""
    training = record.science.get("training")
    if training:
        return trained_epochs(training)
    if record.kind == PairProbe.kind:
        return EPOCHS_OF_A_PAIR_PROBE
    points: int = record.science["points"]
    return EPOCHS_OF_A_PROBE_POINT * (points**2 if record.kind == Landscape.kind else points)
