"""Upward rank: a stage's urgency is the length of the longest path from it to the end of the plan. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

from orchestrator.planning.plan import Node, Plan
from orchestrator.store.record import Record
from workers.stages import Imported, Landscape, PairProbe, Probe, Stage

EPOCHS_OF_A_PROBE_POINT = 0.1
EPOCHS_OF_A_PAIR_PROBE = 0.2  # both networks predict the test set
LEAST_EPOCHS = 0.1  # of a stage without training: it opens its data, and prunes


def cost_epochs(stage: Stage) -> float:
    """Estimate a stage's work, in training epochs of its data set and architecture."""
    if isinstance(stage, Probe):
        return stage.points * EPOCHS_OF_A_PROBE_POINT
    if isinstance(stage, Landscape):
        return stage.points**2 * EPOCHS_OF_A_PROBE_POINT
    if isinstance(stage, Imported):
        return LEAST_EPOCHS
    if isinstance(stage, PairProbe):
        return EPOCHS_OF_A_PAIR_PROBE + EPOCHS_OF_A_PROBE_POINT * (stage.path.points if stage.path else 0)
    return max(float(len(stage.training.span)), LEAST_EPOCHS)


def recorded_epochs(record: Record) -> float:
    """``cost_epochs`` of a record's stage."""
    training = record.science.get("training")
    if training:
        stop = training.get("stop_after")
        epochs = (training["epochs"] if stop is None else stop) - training.get("first_epoch", 0)
        return max(float(epochs), LEAST_EPOCHS)
    if record.kind == Imported.kind:
        return LEAST_EPOCHS
    if record.kind == PairProbe.kind:
        path = record.science.get("path") or {"points": 0}
        return EPOCHS_OF_A_PAIR_PROBE + EPOCHS_OF_A_PROBE_POINT * float(path["points"])
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


def own_cost(plan: Plan, rank: Mapping[str, float]) -> dict[str, float]:
    """Return the cost of each stage without its dependents, by key, in the unit of its upward rank."""
    dependents = plan.dependents()
    return {key: rank[key] - max((rank[each] for each in dependents[key]), default=0.0) for key in plan.nodes}


def first_probe(plan: Plan, cost: Mapping[str, float], finished: Collection[str]) -> dict[str, tuple[float, int]]:
    """Return when the first probe that needs each stage could end at the earliest, and its position in the plan.

    Args:
        cost: of each stage, by key.
        finished: keys of the stages that are done.

    Returns:
        By key, a pair to sort by: in its order the nearest probe comes first, with all that it needs. The time is
        infinite for stages that no unfinished probe needs.
    """
    dependents = plan.dependents()
    ends: dict[str, float] = {}
    for node in plan:
        begins = max((ends[upstream] for upstream in node.inputs.values()), default=0.0)
        ends[node.key] = 0.0 if node.key in finished else begins + cost[node.key]
    order: dict[str, tuple[float, int]] = {}
    for position, key in reversed([*enumerate(plan.nodes)]):
        is_open_probe = isinstance(plan.nodes[key].stage, Probe) and key not in finished
        own = (ends[key] if is_open_probe else math.inf, position)
        order[key] = min([own, *(order[dependent] for dependent in dependents[key])])
    return order
