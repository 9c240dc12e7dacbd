"""What a search computes: shortened chains at one density, their stages and rungs, and the recipe of a winner. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from orchestrator.planning.algorithm import expand
from orchestrator.planning.plan import Plan, describe
from orchestrator.recipes import Recipe, RecipeError, merge
from orchestrator.recipes.experiments import Experiment
from orchestrator.tuning.space import FRACTION, Range, Space, draw_points, layer
from workers.stages import Train

REDUCTION = 2  # of the trials that reach a rung, one in so many goes on; the next rung is so many times as deep
OBJECTIVE = "validation_accuracy_percent"
DEPTH = "depth"
FRACTION_DIGITS = 6


class Definition(BaseModel):
    """All that changes what a search finds; two searches with equal definitions are one search.

    Attributes:
        recipe: the recipe that is tuned, with the user's changes.
        rounds: pruning rounds of the recipe's own prune fraction, after which a trial's chain is as sparse as it gets.
        final_epochs: of the final training on every rung.
        points: what each trial changes, by dotted field; the first trial changes nothing.
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
        """Of every trial's last ticket."""
        return (1 - self.recipe.prune_fraction) ** self.rounds

    def experiment(self, number: int) -> Experiment:
        """The shortened experiment of a trial, counted from 1."""
        recipe = shortened(self.recipe, self.points[number - 1], self.rounds, self.final_epochs)
        return Experiment(recipe, self.data_fingerprint, self.model_version)


def define(
    experiment: Experiment, space: Space, trials: int, rounds: int, final_epochs: int | None, seed: int
) -> Definition:
    """A search around an experiment's recipe.

    Args:
        final_epochs: None for as many as a round has, and never more than the recipe's.

    Raises:
        RecipeError: no prune fraction of the space can be compared.
    """
    recipe = experiment.recipe
    points = draw_points(space, trials, seed)
    fractions = space.get(FRACTION)
    if isinstance(fractions, Range):
        points = fitted(points, reachable_fractions(recipe, rounds, fractions))
    return Definition(
        recipe=recipe,
        data_fingerprint=experiment.data_fingerprint,
        model_version=experiment.model_version,
        space={name: str(found) for name, found in space.items()},
        trials=trials,
        rounds=rounds,
        final_epochs=final_epochs or min(recipe.round_epochs, recipe.final_epochs),
        seed=seed,
        points=points,
    )


def check_searchable(recipe: Recipe) -> None:
    """Raise RecipeError unless the recipe holds out validation images, leaves the test set alone and fits a trial."""
    if recipe.validation_fraction == 0:
        raise RecipeError(
            "a search chooses by validation accuracy, and validation_fraction is 0; "
            "use --preset sound, or --set validation_fraction=0.1"
        )
    if recipe.watch_test_set:
        raise RecipeError("a search never reads the test set, and watch_test_set is true; give --preset sound")
    if recipe.gpus_per_stage > 1:
        raise RecipeError(
            f"a trial trains on one GPU at most, and gpus_per_stage is {recipe.gpus_per_stage}; search with "
            f"--set gpus_per_stage=1, and give the sweep --gpus-per-stage {recipe.gpus_per_stage}"
        )


def reachable_fractions(recipe: Recipe, rounds: int, within: Range) -> list[float]:
    """The prune fractions in a range that lead, in whole rounds, to the density of so many rounds of the recipe's own.

    Were the number of rounds the same for all fractions, a search would only find that dense networks do better.

    Raises:
        RecipeError: there is none; one sentence with those around the range.
    """
    density = (1 - recipe.prune_fraction) ** rounds
    most = math.ceil(math.log(density) / math.log(1 - within.low)) + 1
    found = [round(1 - density ** (1 / number), FRACTION_DIGITS) for number in range(1, most + 1)]
    inside = [fraction for fraction in found if within.low - 1e-6 <= fraction <= within.high + 1e-6]
    if not inside:
        near = ", ".join(f"{fraction:g}" for fraction in found[-3:])
        raise RecipeError(
            f"--space {FRACTION}={within}: every trial ends at density {density:.3g}, which whole rounds reach with "
            f"fractions such as {near} only; widen the range or give other --rounds"
        )
    return inside


def fitted(points: Iterable[Mapping[str, Any]], fractions: Sequence[float]) -> list[dict[str, Any]]:
    """The points with each prune fraction replaced by the nearest of those that can be compared."""
    return [
        {**point, FRACTION: min(fractions, key=lambda fraction: abs(fraction - point[FRACTION]))}
        if FRACTION in point
        else dict(point)
        for point in points
    ]


def shortened(recipe: Recipe, point: Mapping[str, Any], rounds: int, final_epochs: int) -> Recipe:
    """A recipe with a trial's changes, a short final training, and a short chain that ends at the search's density.

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
        "transfer_rounds": tuple(range(1, rounds + 1)),
        "probe_rounds": (),
        "chains": 1,
        "seeds": 1,
    }
    return Recipe.model_validate(merge(recipe.model_dump(), layer(point), short))


def rungs(rounds: int, depth: int) -> dict[int, float]:
    """The pruning rounds after which a trial is compared, with how deep its ticket is then.

    Args:
        rounds: of the trial's chain.
        depth: of its last ticket, in rounds of the recipe's own prune fraction.

    Returns:
        depth by round: the first at or beyond each of 1, 2, 4, … and the last.
    """
    found = {}
    milestone = 1
    while milestone < depth:
        round_ = max(1, math.ceil(milestone * rounds / depth - 1e-9))
        found[round_] = depth * round_ / rounds
        milestone *= REDUCTION
    return {**found, rounds: float(depth)}


def plan_to_round(experiment: Experiment, round_: int) -> Plan:
    """The chain of a trial up to a round, and the signed transfer of that round's ticket, blind to the test set."""
    plan = Plan()
    for node in expand([experiment]):
        at = node.labels.round or 0
        if describe(node) in ("pretrain", "round") and at <= round_:
            plan.nodes[node.key] = node
        elif describe(node) == "train signed" and at == round_ and not node.labels.twin:
            assert isinstance(node.stage, Train)
            ticket = plan.nodes[node.inputs["ticket"]]
            plan.add(node.name, replace(node.stage, read_test_set=False), node.labels, ticket=ticket)
    return plan


def winning_layer(recipe: Recipe, changes: Sequence[Mapping[str, Any]], point: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a recipe file for the winner: the user's changes, the trial's, and rounds that suit its fraction.

    With another prune fraction the chain has as many rounds as lead to about the same last density, and probes and
    transfers happen at about the same densities as before.
    """
    found = merge(*changes, layer(point))
    fraction = found.get(FRACTION, recipe.prune_fraction)
    if fraction == recipe.prune_fraction:
        return found
    ratio = math.log(1 - recipe.prune_fraction) / math.log(1 - fraction)
    rounds = max(1, round(recipe.rounds * ratio))

    def moved(old: Iterable[int]) -> list[int]:
        return sorted({min(rounds, max(1, round(number * ratio))) if number else 0 for number in old})

    found.update(rounds=rounds, probe_rounds=moved(recipe.probe_rounds))
    if recipe.transfer_rounds == tuple(range(1, recipe.rounds + 1)):
        found["transfer_rounds"] = "all"
    elif recipe.transfer_rounds == recipe.probe_rounds:
        found["transfer_rounds"] = "probed"
    else:
        found["transfer_rounds"] = moved(recipe.transfer_rounds)
    return found


def differences(old: Definition, new: Definition) -> list[str]:
    """What differs between two definitions, as "FIELD was … and is …"."""

    def flat(value: Any, name: str = "") -> dict[str, Any]:
        if not isinstance(value, dict):
            return {name: value}
        return {
            k: v for part, inner in value.items() for k, v in flat(inner, f"{name}.{part}" if name else part).items()
        }

    one, two = flat(old.model_dump(mode="json")), flat(new.model_dump(mode="json"))
    return [
        f"{name} was {one.get(name)} and is {two.get(name)}"
        for name in {**one, **two}
        if name != "points" and one.get(name) != two.get(name)
    ]
