"""Enlarge a recorded sweep: its plan with more stages, and durations drawn from its records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from random import Random
from statistics import median
from typing import Any

from orchestrator.planning.algorithm import expand
from orchestrator.planning.plan import Plan
from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.resolution import resolve
from orchestrator.scheduling.estimate import Estimates
from orchestrator.store import Store
from orchestrator.store.record import Record

EPOCHS_FIELD = {"pretrain": "pretrain_epochs", "round": "round_epochs", "train": "final_epochs"}
Workload = tuple[str, str, str]
"""A data set, an architecture and a preset."""


class RecordedSweep:
    """Durations in the records of a store.

    A stage's duration is the median of its kind, data set and architecture
    (``orchestrator.scheduling.estimate``), times the ratio of a randomly drawn recorded stage to that median. So the
    spread between equal stages stays.

    Attributes:
        device: the device of the measured durations.
        workloads: the recorded trainings.

    Raises:
        ValueError: the store has no usable record.
    """

    def __init__(self, store: str) -> None:
        records = Store(store).records().values()
        estimates = Estimates(records)
        self._estimates = estimates
        self._records = [r for r in records if r.attempt == 1 and r.provenance.get("device") == estimates.device]
        if not self._records:
            raise ValueError(f"{store} has no record of a stage done at its first attempt; give a finished store")
        self.device = estimates.device
        self.workloads = sorted({_workload(record) for record in self._records})
        self._shares = _shares_of_median(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def plan(self, changes: Mapping[str, Any]) -> Plan:
        """Plan the recorded workloads, with the same epochs and probe points, and other recipe fields changed."""
        recipes = [
            resolve(workload[0], workload[1], workload[2], [{**self._epochs(workload), **changes}])
            for workload in self.workloads
        ]
        return expand(Experiment(recipe, "benchmark") for recipe in recipes)

    def seconds(self, plan: Plan, random: Random) -> dict[str, float]:
        """Draw each stage's duration, by key."""
        durations = {}
        for node in plan:
            labels = node.labels
            shares = self._shares.get((node.stage.kind, labels.dataset, labels.architecture), [1.0])
            estimate = self._estimates.seconds(node)
            assert estimate is not None  # every workload has a record
            durations[node.key] = estimate * random.choice(shares)
        return durations

    def _epochs(self, workload: Workload) -> dict[str, Any]:
        """Return the recipe fields that set a stage's duration; the schedule does not, and might not fit."""
        fields: dict[str, Any] = {"final_schedule": {"name": "constant"}}
        for record in self._records:
            if _workload(record) != workload:
                continue
            if record.kind in EPOCHS_FIELD:
                fields[EPOCHS_FIELD[record.kind]] = record.science["training"]["epochs"]
            elif record.kind == "probe":
                fields["probe_points"] = record.science["points"]
        return fields


def _workload(record: Record) -> Workload:
    return record.labels.dataset, record.labels.architecture, record.labels.preset


def _shares_of_median(records: Sequence[Record]) -> dict[tuple[str, str, str], list[float]]:
    groups: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for record in records:
        groups[record.kind, record.labels.dataset, record.labels.architecture].append(record.seconds)
    return {group: [each / median(seconds) for each in seconds] for group, seconds in groups.items()}
