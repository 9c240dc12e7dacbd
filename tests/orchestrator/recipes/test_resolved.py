"""A resolved recipe as a file: it gives the same keys, and marks what differs from the built-in recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.planning.algorithm import expand, planned_recipe
from orchestrator.planning.plan import Plan
from orchestrator.recipes.experiment_file import builtin_experiments, read_experiment
from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.layers import read_recipe_file
from orchestrator.recipes.recipe import Recipe
from orchestrator.recipes.resolution import resolve
from orchestrator.recipes.resolved import as_fields, as_yaml, differences, flat_fields

SMALL: dict[str, Any] = {"rounds": 2, "chains": 1, "seeds": 1}


def plan(recipe: Recipe) -> Plan:
    return expand([Experiment(recipe, "fingerprint")])


def read_back(recipe: Recipe, folder: Path) -> Recipe:
    file = folder / "recipe.yaml"
    file.write_text(as_yaml(recipe), encoding="utf-8")
    return resolve(recipe.dataset, recipe.arch, recipe.preset, (read_recipe_file(file),))


def same_plan(recipe: Recipe, folder: Path) -> bool:
    first, again = plan(recipe), plan(read_back(recipe, folder))
    return (list(first.nodes), first.studies) == (list(again.nodes), again.studies)


@pytest.mark.parametrize(
    ("dataset", "preset", "changes"),
    [
        ("mnist1d", "sound", {}),
        ("cifar100", "reference", {}),
        ("imagefolder:birds", "sound", {"image_size": 128, "pixel_mean": [0.5, 0.4, 0.3]}),
        ("mnist1d", "sound", {"optimizer": {"learning_rate": 1e-5, "weight_decay": 0}}),
        ("mnist1d", "sound", {"model": {"width": 4}, "probes": ["disagreement"], "probe_rounds": "all"}),
        ("mnist1d", "sound", {"transfers": ["mask"], "twins": ["mask"]}),
        ("mnist1d", "sound", {"landscapes": [["retrain", "signed", "mask"]], "landscape_points": 5}),
        (
            "mnist1d",
            "sound",
            {"own_methods": {"mine": {"criterion": "random", "steps": 2}}, "methods": ["mine", "imp"]},
        ),
        (
            "mnist1d",
            "sound",
            {"own_transfers": {"mine": {"signs": "round_1"}}, "transfers": ["mine", "signed"], "twins": ["mine"]},
        ),
        ("mnist1d", "sound", {"study": {"looks": [2, 4], "margin_points": 0.5}, "dense_same_budget": True}),
    ],
)
def test_the_file_gives_the_same_keys_and_study(
    dataset: str, preset: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    assert same_plan(resolve(dataset, None, preset, (SMALL, changes)), tmp_path)


@pytest.mark.parametrize("name", sorted(builtin_experiments()))
def test_the_file_of_a_built_in_experiment_gives_the_same_keys(name: str, tmp_path: Path) -> None:
    request = read_experiment(Path(name), smoke=True)
    for dataset in request.datasets or ():
        for arch in request.archs or (None,):
            assert same_plan(resolve(dataset, arch, request.preset or "sound", request.layers), tmp_path)


def test_starts_that_train_all_epochs_leave_the_fields_of_earlier_versions(tmp_path: Path) -> None:
    plain = resolve("mnist1d", None, "sound", (SMALL,))
    later = resolve("mnist1d", None, "sound", (SMALL, {"first_epochs": {"signed": 2}}))
    assert "first_epochs" not in as_fields(plain)  # else it would differ from every store that has no such field
    assert flat_fields(later)["first_epochs.signed"] == 2
    assert differences(later)["first_epochs.signed"] is None
    assert same_plan(later, tmp_path)


def test_transfers_that_leave_no_twin_take_the_built_in_twins_away(tmp_path: Path) -> None:
    assert same_plan(resolve("mnist1d", None, "sound", (SMALL, {"transfers": ["mask"]})), tmp_path)


def test_twins_that_are_not_trained_and_an_empty_list_leave_no_twin(tmp_path: Path) -> None:
    assert same_plan(
        resolve("mnist1d", None, "sound", ({"twins": ["mask"]}, {**SMALL, "transfers": ["signed"]})), tmp_path
    )
    assert same_plan(resolve("mnist1d", None, "sound", (SMALL, {"twins": []})), tmp_path)


def test_what_differs_from_the_built_in_recipe_is_marked() -> None:
    recipe = resolve("mnist1d", None, "sound", ({"rounds": 3}, {"optimizer": {"learning_rate": 0.05}}))
    assert differences(recipe) == {
        "optimizer.learning_rate": 0.1,
        "rounds": 15,
        "transfer_rounds": [10, 15],
        "probe_rounds": [10, 15],
    }
    lines = as_yaml(recipe).splitlines()
    assert "rounds: 3  # built-in: 15" in lines
    assert "batch_size: 128" in lines
    assert differences(resolve("mnist1d", None, "sound")) == {}


def test_the_store_keeps_the_recipe_beside_the_stages_and_old_digests_hold() -> None:
    recipe = resolve("mnist1d", None, "sound", (SMALL,))
    without = plan(recipe)
    old = without.stored(["sweep"], 1.0).sealed()
    assert "recipes" not in old.model_dump(exclude_defaults=True)
    without.recipes = [planned_recipe(Experiment(recipe, "fingerprint"))]
    new = without.stored(["sweep"], 1.0).sealed()
    assert new.intact
    assert new.blake2b != old.blake2b
    assert new.recipes[0].fields["rounds"] == 2
    assert new.recipes[0].builtin["rounds"] == 15
