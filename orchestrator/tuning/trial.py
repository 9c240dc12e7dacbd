"""One trial of a search: the sweep's stages through the sweep's driver, in this process and a store of its own."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

from orchestrator.backends.inline import InlineBackend
from orchestrator.driver.driver import Driver, Policies, Work
from orchestrator.planning.plan import Plan, describe
from orchestrator.scheduling.queue import ReadyQueue
from orchestrator.scheduling.rank import upward_rank
from orchestrator.store import Store
from orchestrator.store.leases import HeldLease
from orchestrator.terminal.progress import ProgressPanel
from orchestrator.tuning.definition import OBJECTIVE, Definition, plan_to_round, rungs
from workers.stages.execution import Execution
from workers.terminal.console import Console


class TrialError(RuntimeError):
    """A failed stage of a trial; the message names its log."""


@dataclass(frozen=True)
class Rung:
    """A trial's result for one ticket.

    Attributes:
        depth: rounds of the recipe's prune fraction that lead to the ticket's density.
        accuracy_percent: validation accuracy of the signed transfer; 0 if a training diverged.
        last: whether the trial ends with this rung.
    """

    depth: float
    accuracy_percent: float
    diverged: bool
    last: bool


def trial_folder(root: Path, number: int) -> Path:
    """The store of a trial."""
    return root / "trials" / f"{number:03d}"


def run_rung(definition: Definition, number: int, index: int, root: Path, execution: Execution) -> Rung:
    """Compute rung ``index`` (from 0) of trial ``number`` (from 1); stages in its store are not computed again.

    Raises:
        TrialError: a stage failed for a reason other than divergence.
        StoreError: the store cannot be written.
    """
    experiment = definition.experiment(number)
    steps = list(rungs(experiment.recipe.rounds, definition.rounds).items())
    round_, depth = steps[index]
    plan = plan_to_round(experiment, round_)
    store = Store(trial_folder(root, number))
    store.open_for_writing()
    diverged = _run(plan, store, execution)
    accuracy = 0.0
    if not diverged:
        (solution,) = (node for node in plan if describe(node) == "train signed")
        record = store.record(solution.key)
        assert record is not None
        accuracy = float(record.results[OBJECTIVE])
    return Rung(depth, accuracy, diverged, last=diverged or index + 1 == len(steps))


def _run(plan: Plan, store: Store, execution: Execution) -> bool:
    """Compute missing stages; whether a training diverged."""
    rank = upward_rank(plan)
    records = store.records()
    queue = ReadyQueue(plan, rank, [key for key in plan.nodes if key in records])
    backend = InlineBackend(execution.torch_device)
    panel = ProgressPanel(Console(quiet=True), plan, queue, rank, lambda: 1)
    lease = HeldLease(store.storage, sys.argv)
    try:
        driver = Driver(Work(plan, queue), store, lease, backend, Policies(execution), panel)
        summary = driver.run(lambda: None, math.inf)
    finally:
        backend.close()
        lease.release()
    if not summary.failures:
        return False
    failure = summary.failures[0]
    if failure.error_type == "DivergedError":  # a result for the search, like any accuracy
        return True
    raise TrialError(f"{failure.name}: {failure.error_type}: {failure.message}  ({store.root}/{failure.log})")
