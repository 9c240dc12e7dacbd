"""How urgent a stage is: the length of the longest path from it to the plan's end. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.planning.plan import Node, Plan
from workers.stages import Landscape, PairProbe, Probe, Stage

EPOCHS_OF_A_PROBE_POINT = 0.1
EPOCHS_OF_A_PAIR_PROBE = 0.2  # one that has both networks answer the test set
LEAST_EPOCHS = 0.1  # of a stage that trains none: it opens its data, and prunes


def cost_epochs(stage: Stage) -> float:
    """A stage's work in epochs of its own data set and architecture, as an estimate before anything is measured."""
    if isinstance(stage, Probe):
        return stage.points * EPOCHS_OF_A_PROBE_POINT
    if isinstance(stage, Landscape):
        return stage.points**2 * EPOCHS_OF_A_PROBE_POINT
    if isinstance(stage, PairProbe):
        return EPOCHS_OF_A_PAIR_PROBE
    return max(float(len(stage.training.span)), LEAST_EPOCHS)


def trained_epochs(training: Mapping[str, Any]) -> float:
    """``cost_epochs`` of a stage in a record, by the fields of its training."""
    stop = training.get("stop_after")
    return max(float((training["epochs"] if stop is None else stop) - training.get("first_epoch", 0)), LEAST_EPOCHS)


def upward_rank(plan: Plan, cost: Callable[[Node], float] = lambda node: cost_epochs(node.stage)) -> dict[str, float]:
    """Cost of a stage plus that of the most expensive chain of stages behind it, by key: in epochs, or as ``cost`` is.

    Started in falling rank, the rounds in series come before the leaf transfers and probes.
    """
    dependents = plan.dependents()
    rank: dict[str, float] = {}
    for key in reversed(plan.nodes):
        behind = max((rank[dependent] for dependent in dependents[key]), default=0.0)
        rank[key] = cost(plan.nodes[key]) + behind
    return rank
