"""Upward rank: a stage's urgency is the length of the longest path from it to the end of the plan. Pure."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.planning.plan import Node, Plan
from orchestrator.store.record import Record
from workers.stages import Landscape, PairProbe, Probe, Stage

EPOCHS_OF_A_PROBE_POINT = 0.1
EPOCHS_OF_A_PAIR_PROBE = 0.2  # both networks predict the test set
LEAST_EPOCHS = 0.1  # of a stage without training: it opens its data, and prunes


def cost_epochs(stage: Stage) -> float:
    """Estimate a stage's work, in training epochs of its data set and architecture."""
    if isinstance(stage, Probe):
        return stage.points * EPOCHS_OF_A_PROBE_POINT
    if isinstance(stage, Landscape):
        return stage.points**2 * EPOCHS_OF_A_PROBE_POINT
    if isinstance(stage, PairProbe):
        return EPOCHS_OF_A_PAIR_PROBE
    return max(float(len(stage.training.span)), LEAST_EPOCHS)


def recorded_epochs(record: Record) -> float:
    """``cost_epochs`` of a record's stage."""
    training = record.science.get("training")
    if training:
        stop = training.get("stop_after")
        epochs = (training["epochs"] if stop is None else stop) - training.get("first_epoch", 0)
        return max(float(epochs), LEAST_EPOCHS)
    if record.kind == PairProbe.kind:
        return EPOCHS_OF_A_PAIR_PROBE
    points: int = record.science["points"]
    return EPOCHS_OF_A_PROBE_POINT * (points**2 if record.kind == Landscape.kind else points)


def upward_rank(plan: Plan, cost: Callable[[Node], float] = lambda node: cost_epochs(node.stage)) -> dict[str, float]:
    """Cost of each stage plus its most expensive chain of dependents, by key: in epochs, or in the unit of ``cost``.

    In order of falling rank, serial pruning rounds start before transfers and probes, on which nothing depends.
    """
    dependents = plan.dependents()
    rank: dict[str, float] = {}
    for key in reversed(plan.nodes):
        longest = max((rank[dependent] for dependent in dependents[key]), default=0.0)
        rank[key] = cost(plan.nodes[key]) + longest
    return rank
