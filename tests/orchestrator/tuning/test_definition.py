"""A search's definition: chains to one density that never read the test set, and the winner's recipe."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.layers import RecipeError
from orchestrator.recipes.recipe import Recipe
from orchestrator.recipes.resolution import resolve
from orchestrator.store import StoreError
from orchestrator.tuning.definition import (
    Definition,
    check_searchable,
    define,
    differences,
    plan_to_round,
    reachable_fractions,
    rungs,
    shortened,
    winning_layer,
)
from orchestrator.tuning.outcome import TrialResult, check_same_search, recipe_text, winner, write_definition
from orchestrator.tuning.space import FRACTION, RATE, Range, default_space, narrowed
from tests.orchestrator.recipes.small_recipes import recipe
from tests.support.image_sets import write_image_folder
from workers.data import fingerprint
from workers.stages import Pretrain, Round, Schedule, Train


def definition(trials: int = 6, rounds: int = 4, seed: int = 0, final_epochs: int | None = None) -> Definition:
    experiment = Experiment(recipe(), "fingerprint-1", 3)
    return define(experiment, default_space(recipe()), trials, rounds, final_epochs, seed)


@given(st.integers(1, 8), st.floats(0.05, 0.2), st.floats(0.2, 0.6))
def test_every_trial_ends_at_the_same_density(rounds: int, low: float, high: float) -> None:
    base = recipe()
    for fraction in reachable_fractions(base, rounds, Range(low, high)):
        short = shortened(base, {FRACTION: fraction}, rounds, 1)
        assert low - 1e-5 <= short.prune_fraction <= high + 1e-5
        assert (1 - short.prune_fraction) ** short.rounds == pytest.approx(0.8**rounds, rel=1e-4)
    assert shortened(base, {}, rounds, 1).rounds == rounds


def test_a_range_without_a_reachable_fraction_is_refused_with_near_fractions() -> None:
    with pytest.raises(RecipeError, match=r"prune_fraction=0.3..0.35: .* density 0.41, .* such as .*0.2.*; widen"):
        reachable_fractions(recipe(), 4, Range(0.3, 0.35))


@pytest.mark.parametrize(
    ("rounds", "depth", "expected"),
    [
        (4, 4, {1: 1, 2: 2, 4: 4}),
        (1, 1, {1: 1}),
        (5, 5, {1: 1, 2: 2, 4: 4, 5: 5}),
        (2, 4, {1: 2, 2: 4}),  # fewer, larger steps: the first is beyond the first two milestones
        (8, 4, {2: 1, 4: 2, 8: 4}),
        (3, 4, {1: 4 / 3, 2: 8 / 3, 3: 4}),
    ],
)
def test_rungs_are_the_first_rounds_at_each_depth(rounds: int, depth: int, expected: dict[int, float]) -> None:
    assert rungs(rounds, depth) == pytest.approx(expected)


def test_a_short_final_training_keeps_the_shape_of_its_schedule() -> None:
    long = recipe(final_epochs=100, final_schedule=Schedule("steps", (50, 75)))
    assert shortened(long, {}, 2, 20).final_schedule.milestones == (10, 15)


def test_a_trial_trains_a_chain_and_signed_transfers_that_never_read_the_test_set() -> None:
    made = definition()
    for number in range(1, made.trials + 1):
        experiment = made.experiment(number)
        last = experiment.recipe.rounds
        plan = plan_to_round(experiment, last)
        assert Counter(node.stage.kind for node in plan) == {"pretrain": 1, "round": last, "train": 1}
        for node in plan:
            assert not isinstance(node.stage, Train) or not node.stage.read_test_set
            assert isinstance(node.stage, Train) or node.labels.method == "aws"
            assert not node.stage.setting.watch_test_set
            if isinstance(node.stage, Pretrain | Round):
                assert node.stage.alpha == experiment.recipe.alpha
        early = plan_to_round(experiment, 1)  # shares its chain with the later rung
        assert {key for key, node in early.nodes.items() if node.stage.kind != "train"} <= plan.nodes.keys()


def test_the_first_trial_is_the_unchanged_recipe() -> None:
    first = definition().experiment(1).recipe
    base = recipe()
    assert (first.optimizer, first.prune_fraction, first.alpha) == (base.optimizer, base.prune_fraction, base.alpha)


@pytest.mark.parametrize("change", [{"validation_fraction": 0.0}, {"watch_test_set": True}])
def test_a_recipe_that_would_choose_by_the_test_set_is_refused(change: dict[str, object]) -> None:
    check_searchable(recipe())
    with pytest.raises(RecipeError, match="preset sound"):
        check_searchable(recipe(**change))


def test_a_recipe_whose_stages_are_wider_than_a_trial_is_refused() -> None:
    with pytest.raises(RecipeError, match="gpus_per_stage is 2; search with --set gpus_per_stage=1, then sweep"):
        check_searchable(recipe(gpus_per_stage=2))


def test_a_definition_survives_its_file_and_another_is_refused_with_the_difference(tmp_path: Path) -> None:
    made = definition()
    write_definition(tmp_path, made)
    check_same_search(tmp_path, made, tmp_path)
    assert Definition.model_validate_json(made.model_dump_json()) == made
    with pytest.raises(StoreError, match="another search: trials was 6 and is 7; give another --store"):
        check_same_search(tmp_path, definition(trials=7), tmp_path)
    assert differences(made, definition(seed=1)) == ["seed was 0 and is 1"]
    assert differences(made, definition(final_epochs=2)) == ["final_epochs was 1 and is 2"]
    other = made.model_copy(update={"recipe": recipe(batch_size=64)})
    assert differences(made, other) == ["recipe.batch_size was 32 and is 64"]


def test_a_search_on_changed_data_is_refused_with_the_files(tmp_path: Path) -> None:
    name, folder, cache = "imagefolder:insects", write_image_folder(tmp_path / "insects"), tmp_path / "cache"
    made = definition().model_copy(update={"data_fingerprint": fingerprint(name, tmp_path, cache)})
    made = made.model_copy(update={"recipe": made.recipe.model_copy(update={"dataset": name})})
    write_definition(tmp_path, made)
    (folder / "train" / "ants" / "0.JPG").unlink()
    now = made.model_copy(update={"data_fingerprint": fingerprint(name, tmp_path, cache)})
    with pytest.raises(StoreError, match=r"insects changed since .*: 1 file is gone \(.*0\.JPG\); give another"):
        check_same_search(tmp_path, now, cache)


def test_a_search_resumes_with_another_share_of_a_gpu(tmp_path: Path) -> None:
    write_definition(tmp_path, define(Experiment(recipe(), "fingerprint-1"), {}, 2, 2, None, 0))
    other = define(Experiment(recipe(gpus_per_trial=0.5), "fingerprint-1"), {}, 2, 2, None, 0)
    check_same_search(tmp_path, other, tmp_path)


def test_a_pipe_in_the_place_of_the_definition_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "search.json")
    with pytest.raises(StoreError, match="is a named pipe, and only regular files are read; give another --store"):
        check_same_search(tmp_path, definition(), tmp_path)


def test_a_folder_with_other_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    with pytest.raises(StoreError, match="holds stages but no search; give an empty folder"):
        check_same_search(tmp_path, definition(), tmp_path)
    (tmp_path / "search.json").write_text("{}")
    with pytest.raises(StoreError, match="was written by another version; give another --store"):
        check_same_search(tmp_path, definition(), tmp_path)


def result(number: int, *rungs_: tuple[float, float], diverged: bool = False, error: str | None = None) -> TrialResult:
    return TrialResult(number, {}, rungs_, diverged, error)


def test_the_winner_is_the_most_accurate_of_the_deepest_trials() -> None:
    stopped, end, better = result(1, (1, 99)), result(2, (1, 50), (4, 60)), result(3, (1, 40), (4, 70))
    assert winner([stopped, end, better]) is better
    assert winner([stopped, result(2, (4, 70)), better]).number == 2  # type: ignore[union-attr]
    assert winner([stopped, result(2, (4, 0.0), diverged=True), result(3, (4, 80), error="lost")]) is stopped
    assert winner([result(1), result(2, error="lost")]) is None


@pytest.mark.parametrize(
    ("changes", "point", "expected"),
    [
        ({}, {RATE: 0.05}, {"optimizer": {"learning_rate": 0.05}}),
        ({"rounds": 8}, {FRACTION: 0.2}, {"rounds": 8, "prune_fraction": 0.2}),
        # 1 - 0.8**3: three times as fast
        (
            {},
            {FRACTION: 0.488},
            {"prune_fraction": 0.488, "rounds": 5, "probe_rounds": [3, 5], "transfer_rounds": "probed"},
        ),
    ],
)
def test_the_winners_file_resolves_to_its_recipe(
    changes: dict[str, object], point: dict[str, float], expected: dict[str, object]
) -> None:
    base = resolve("mnist1d", None, "sound", [changes])
    file = winning_layer(base, [changes], point)
    assert file == expected
    experiment = Experiment(base, "fingerprint-1")
    space = narrowed(default_space(base), ["prune_fraction=0.2..0.36"])
    best = TrialResult(2, point, ((4.0, 81.25),), False, None)
    text = recipe_text(define(experiment, space, 4, 4, None, 0), best, file, [])
    assert text.startswith("# Best of 4 trials for mnist1d/resnet1d")
    assert "81.25 %" in text
    made = resolve("mnist1d", None, "sound", [yaml.safe_load(text)])
    assert made.prune_fraction == point.get(FRACTION, 0.2)
    assert made.optimizer.learning_rate == point.get(RATE, 0.1)
    unchanged = {"rounds", "probe_rounds", "transfer_rounds", "prune_fraction", "optimizer"}
    assert {k: v for k, v in made if k not in unchanged} == {k: v for k, v in base if k not in unchanged}


def test_a_winner_keeps_transfers_at_all_rounds() -> None:
    base: Recipe = resolve("cifar100", None, "sound")
    file = winning_layer(base, [], {FRACTION: 0.488})
    assert (file["rounds"], file["transfer_rounds"]) == (5, "all")
