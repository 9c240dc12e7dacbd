"""How long stages take, from those that were measured. Pure. What was never measured has no estimate."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from statistics import median

from orchestrator.gangs import width
from orchestrator.plan import Node, Plan
from orchestrator.rank import (
    EPOCHS_OF_A_PAIR_PROBE,
    EPOCHS_OF_A_PROBE_POINT,
    cost_epochs,
    trained_epochs,
    upward_rank,
)
from orchestrator.record import Record
from workers.stages import Landscape, PairProbe, Probe

Work = tuple[str, str, int]
"""A data set, an architecture, and the ranks of a gang: epochs of one take about the same time."""


class Estimates:
    """Seconds of stages on one kind of device.

    A stage's cost in epochs times the median seconds of one, in stages of the same kind, data set and architecture;
    where there are none, in trainings of the same data set and architecture. A time is never carried over to other data
    or another architecture. Stages that shared a GPU count with their share of it, and only if none had it to itself.

    Args:
        records: of a store.
        device: as records name it; None for the one that most of them were made on.

    Attributes:
        device: the one of the estimates; None if nothing was measured.
    """

    def __init__(self, records: Iterable[Record], device: str | None = None) -> None:
        whole = [record for record in records if record.attempt == 1]  # a later attempt did a part of the work only
        made_on = Counter(record.provenance.get("device") for record in whole)
        self.device = device or max(made_on, key=lambda name: made_on[name], default=None)
        alone: dict[tuple[str, Work], list[float]] = defaultdict(list)
        shared: dict[tuple[str, Work], list[float]] = defaultdict(list)
        for record in whole:
            if record.provenance.get("device") != self.device:
                continue
            sharing = 1 + record.provenance.get("stages_beside", 0)
            ranks = record.science.get("training", {}).get("gang", {}).get("ranks", 1)
            group = record.kind, (record.labels.dataset, record.labels.architecture, ranks)
            (shared if sharing > 1 else alone)[group].append(record.seconds / sharing / _epochs(record))
        self._of_kind = {group: median(times) for group, times in {**shared, **alone}.items()}
        trainings: dict[Work, list[float]] = defaultdict(list)
        for (kind, work), seconds in self._of_kind.items():
            if kind not in (Probe.kind, PairProbe.kind, Landscape.kind):
                trainings[work].append(seconds)
        self._of_training = {work: median(times) for work, times in trainings.items()}

    def seconds(self, node: Node) -> float | None:
        """How long a stage takes that has its devices to itself; None if nothing like it was measured."""
        work = node.labels.dataset, node.labels.architecture, width(node.stage)
        of_an_epoch = self._of_kind.get((node.stage.kind, work), self._of_training.get(work))
        return None if of_an_epoch is None else of_an_epoch * cost_epochs(node.stage)

    def of(self, plan: Plan) -> dict[str, float]:
        """Seconds by key, of the stages that have an estimate."""
        return {node.key: seconds for node in plan if (seconds := self.seconds(node)) is not None}

    def rank(self, plan: Plan) -> dict[str, float]:
        """The upward rank in seconds, or in epochs unless every stage has an estimate: the two do not compare."""
        seconds = self.of(plan)
        return upward_rank(plan, lambda node: seconds[node.key]) if len(seconds) == len(plan) else upward_rank(plan)


def _epochs(record: Record) -> float:
    """What was done, as ``rank.cost_epochs`` counts it."""
    training = record.science.get("training")
    if training:
        return trained_epochs(training)
    if record.kind == PairProbe.kind:
        return EPOCHS_OF_A_PAIR_PROBE
    points: int = record.science["points"]
    return EPOCHS_OF_A_PROBE_POINT * (points**2 if record.kind == Landscape.kind else points)
