"""The definition of a search: shortened chains to one density, their rungs, and the recipe of the winner. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from orchestrator.planning.algorithm import expand
from orchestrator.planning.comparison import changes
from orchestrator.planning.plan import Plan, describe
from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.layers import RecipeError, merge
from orchestrator.recipes.recipe import Recipe
from orchestrator.recipes.resolution import check_epochs
from orchestrator.tuning.space import FRACTION, Range, Space, draw_points, layer
from workers.stages import Train

REDUCTION = 2  # one in REDUCTION trials continues after a rung; the next rung is REDUCTION times as deep
OBJECTIVE = "validation_accuracy_percent"
DEPTH = "depth"
FRACTION_DIGITS = 6


class Definition(BaseModel):
    """Everything that changes a search's result; searches with equal definitions are the same search.

    Attributes:
        recipe: the recipe to tune, with the user's changes.
        rounds: pruning rounds, at the recipe's prune fraction, that give the density at which every trial ends.
        final_epochs: epochs of the final training on every rung.
        points: each trial's changes, by dotted field; the first trial changes nothing.
    """

    model_config = ConfigDict(frozen=True)

    recipe: Recipe
    data_fingerprint: str
    model_version: int
    space: dict[str, str]
    trials: int
    rounds: int
    final_epochs: int
    seed: int
    points: list[dict[str, Any]]

    @property
    def density(self) -> float:
        """Density of every trial's last ticket."""
        return (1 - self.recipe.prune_fraction) ** self.rounds

    def experiment(self, number: int) -> Experiment:
        """The shortened experiment of a trial, counted from 1."""
        recipe = shortened(self.recipe, self.points[number - 1], self.rounds, self.final_epochs)
        return Experiment(recipe, self.data_fingerprint, self.model_version)


def define(
    experiment: Experiment, space: Space, trials: int, rounds: int, final_epochs: int | None, seed: int
) -> Definition:
    """Define a search around an experiment's recipe.

    Without ``final_epochs``, trains for the epochs of a round, at most the recipe's final epochs.

    Raises:
        RecipeError: no prune fraction in the space reaches the density in whole rounds, or a trial's final training is
            shorter than its warm-up, or ends before it begins.
    """
    recipe = experiment.recipe
    points = draw_points(space, trials, seed)
    fractions = space.get(FRACTION)
    if isinstance(fractions, Range):
        reachable = reachable_fractions(recipe, rounds, fractions)
        for point in points[1:]:
            point[FRACTION] = min(reachable, key=lambda fraction: abs(fraction - point[FRACTION]))
    final_epochs = final_epochs or min(recipe.round_epochs, recipe.final_epochs)
    trial = shortened(recipe, {}, rounds, final_epochs)
    trained = {name: epoch for name, epoch in trial.first_epochs.items() if name in ("retrain", *trial.transfers)}
    check_epochs(trial.model_copy(update={"first_epochs": trained}), f"trials (--final-epochs {final_epochs})")
    return Definition(
        recipe=recipe,
        data_fingerprint=experiment.data_fingerprint,
        model_version=experiment.model_version,
        space={name: str(values) for name, values in space.items()},
        trials=trials,
        rounds=rounds,
        final_epochs=final_epochs,
        seed=seed,
        points=points,
    )


def check_searchable(recipe: Recipe) -> None:
    """Raise RecipeError unless the recipe holds out validation images, leaves the test set alone and fits a trial."""
    if recipe.validation_fraction == 0:
        raise RecipeError(
            "a search chooses by validation accuracy, but validation_fraction is 0; "
            "give --preset sound, or --set validation_fraction=0.1"
        )
    if recipe.watch_test_set:
        raise RecipeError("a search never reads the test set, but watch_test_set is true; give --preset sound")
    if recipe.gpus_per_stage > 1:
        raise RecipeError(
            f"a trial trains on at most one GPU, but gpus_per_stage is {recipe.gpus_per_stage}; search with "
            f"--set gpus_per_stage=1, then sweep with --gpus-per-stage {recipe.gpus_per_stage}"
        )


def reachable_fractions(recipe: Recipe, rounds: int, within: Range) -> list[float]:
    """The prune fractions in a range that reach, in whole rounds, the density of ``rounds`` rounds of the recipe.

    With an equal number of rounds for all fractions, a search would only find that denser networks do better.

    Raises:
        RecipeError: the range has none; the sentence names fractions near the range.
    """
    density = (1 - recipe.prune_fraction) ** rounds
    most = math.ceil(math.log(density) / math.log(1 - within.low)) + 1
    reachable = [round(1 - density ** (1 / number), FRACTION_DIGITS) for number in range(1, most + 1)]
    inside = [fraction for fraction in reachable if within.low - 1e-6 <= fraction <= within.high + 1e-6]
    if not inside:
        near = ", ".join(f"{fraction:g}" for fraction in reachable[-3:])
        raise RecipeError(
            f"--space {FRACTION}={within}: every trial ends at density {density:.3g}, which whole rounds reach only "
            f"with fractions such as {near}; widen the range, or give other --rounds"
        )
    return inside


def shortened(recipe: Recipe, point: Mapping[str, Any], rounds: int, final_epochs: int) -> Recipe:
    """Shorten a recipe for a trial: the trial's changes, a short final training, a chain to the search's density.

    Raises:
        ValueError: a value of the point does not fit.
    """
    density = (1 - recipe.prune_fraction) ** rounds
    fraction = point.get(FRACTION, recipe.prune_fraction)
    rounds = max(1, round(math.log(density) / math.log(1 - fraction)))
    schedule, share = recipe.final_schedule, final_epochs / recipe.final_epochs
    milestones = tuple(max(1, round(milestone * share)) for milestone in schedule.milestones)
    method = "aws" if "aws" in recipe.methods else recipe.methods[0]
    short = {
        "rounds": rounds,
        "final_epochs": final_epochs,
        "final_schedule": replace(schedule, milestones=milestones),
        "methods": (method,),
        "transfers": ("signed",),
        "twins": ("signed",),
        "landscapes": (),
        "transfer_rounds": tuple(range(1, rounds + 1)),
        "probe_rounds": (),
        "chains": 1,
        "seeds": 1,
    }
    return Recipe.model_validate(merge(recipe.model_dump(), layer(point), short))


def rungs(rounds: int, depth: int) -> dict[int, float]:
    """The rungs of a trial: the pruning rounds after which trials are compared, and the depth of their tickets.

    Args:
        rounds: pruning rounds of the trial's chain.
        depth: depth of its last ticket, in rounds of the recipe's prune fraction.

    Returns:
        Depth by round, for the first round at or beyond each of the depths 1, 2, 4, … and the last round.
    """
    depth_of = {}
    milestone = 1
    while milestone < depth:
        round_ = max(1, math.ceil(milestone * rounds / depth - 1e-9))
        depth_of[round_] = depth * round_ / rounds
        milestone *= REDUCTION
    return {**depth_of, rounds: float(depth)}


def plan_to_round(experiment: Experiment, round_: int) -> Plan:
    """Plan a trial's chain up to a round, and the signed transfer of its ticket, which never reads the test set."""
    plan = Plan()
    for node in expand([experiment]):
        node_round = node.labels.round or 0
        if describe(node) in ("pretrain", "round") and node_round <= round_:
            plan.nodes[node.key] = node
        elif describe(node) == "train signed" and node_round == round_ and not node.labels.twin:
            assert isinstance(node.stage, Train)
            ticket = plan.nodes[node.inputs["ticket"]]
            plan.add(node.name, replace(node.stage, read_test_set=False), node.labels, ticket=ticket)
    return plan


def winning_layer(recipe: Recipe, changes: Sequence[Mapping[str, Any]], point: Mapping[str, Any]) -> dict[str, Any]:
    """The winner's recipe file: the user's changes, the trial's changes, and rounds that suit its prune fraction.

    With another prune fraction, rounds are renumbered: the chain ends at about the same density, and probes and
    transfers stay at about the same densities.
    """
    fields = merge(*changes, layer(point))
    fraction = fields.get(FRACTION, recipe.prune_fraction)
    if fraction == recipe.prune_fraction:
        return fields
    ratio = math.log(1 - recipe.prune_fraction) / math.log(1 - fraction)
    rounds = max(1, round(recipe.rounds * ratio))

    def renumbered(old: Iterable[int]) -> list[int]:
        return sorted({min(rounds, max(1, round(number * ratio))) if number else 0 for number in old})

    fields.update(rounds=rounds, probe_rounds=renumbered(recipe.probe_rounds))
    if recipe.transfer_rounds == tuple(range(1, recipe.rounds + 1)):
        fields["transfer_rounds"] = "all"
    elif recipe.transfer_rounds == recipe.probe_rounds:
        fields["transfer_rounds"] = "probed"
    else:
        fields["transfer_rounds"] = renumbered(recipe.transfer_rounds)
    return fields


def differences(old: Definition, new: Definition) -> list[str]:
    """Differences between two definitions, as "FIELD was … and is …"."""
    before, after = (definition.model_dump(mode="json", exclude={"points"}) for definition in (old, new))
    return [f"{change.field} was {change.old} and is {change.new}" for change in changes(before, after)]
