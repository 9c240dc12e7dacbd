"""What a recipe declares to ask: checked before any work, kept in the plan, and part of no key."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.planning.algorithm import expand
from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.layers import RecipeError
from orchestrator.recipes.resolution import resolve
from workers.stages import Train


def experiment(**changes: Any) -> Experiment:
    return Experiment(resolve("mnist1d", None, "sound", [changes]), "fingerprint")


def test_a_declaration_changes_no_stage_and_is_kept_with_the_plan() -> None:
    plain, declared = expand([experiment()]), expand([experiment(study={"looks": [3, 6], "margin_points": 1})])
    assert plain.nodes == declared.nodes
    assert plain.studies == []
    [study] = declared.stored([], 1.0).studies
    assert (study.dataset, study.looks, study.margin_points) == ("mnist1d", [3, 6], 1.0)


@pytest.mark.parametrize(
    ("study", "looks"),
    [
        ({"max_chains": 6}, [3, 4, 5, 6]),
        ({"looks": [3, 9]}, [3, 9]),
        ({"primary": ["barrier_of_signed_minus_mask"]}, []),
    ],
)
def test_the_looks_of_a_declaration(study: dict[str, Any], looks: list[int]) -> None:
    assert expand([experiment(study=study)]).studies[0].looks == looks


@pytest.mark.parametrize(
    ("study", "sentence"),
    [
        ({"looks": [6, 3]}, "give rising numbers of chains"),
        ({"looks": [1, 3]}, "of at least 2, such as"),
        ({"looks": [3, 3]}, "3 stands twice"),
        ({"looks": [3, 6], "max_chains": 8}, "the last look is at 6 chains"),
        ({"looks": [2]}, "chains 3: the study is judged at no more than 2 chains"),
        ({"max_chains": 2}, "chains 3: the study is judged at no more than 2 chains"),
        ({"margin_points": 0}, "study.margin_points"),
        ({"primary": ["signs"]}, "'signs' is no question; name it MEASURE_of_A_minus_B"),
        ({"primary": ["speed_of_signed_minus_mask"]}, "is no question"),
        ({"primary": ["accuracy_of_signed_minus_shuffled"]}, "compares 'shuffled', and this sweep trains"),
        ({"primary": ["accuracy_of_signed_minus_dense"]}, "compares 'dense'"),
        ({"primary": ["accuracy_of_signed_minus_signed"]}, "two different starts"),
        ({"primary": ["accuracy_of_aws_signed_minus_mask"]}, "a method on both or neither"),
        ({"questions": []}, "questions"),
    ],
)
def test_a_declaration_that_cannot_be_judged_is_refused(study: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence.replace("[", r"\[")):
        experiment(study=study)


def test_a_question_may_compare_methods() -> None:
    name = "stability_of_aws_signed_minus_lrr_signed"
    assert expand([experiment(study={"primary": [name]})]).studies[0].primary == [name]


def test_dense_training_of_the_same_budget_has_the_epochs_of_a_chain_and_a_final_training() -> None:
    plan = expand([experiment(dense_same_budget=True, seeds=2, chains=1)])
    stages = [node.stage for node in plan if node.labels.transfer == "dense_same_budget"]
    assert len(stages) == 2
    for stage in stages:
        assert isinstance(stage, Train)
        assert stage.training.epochs == 6 + 15 * 3 + 10
        assert stage.training.schedule.milestones == (30, 49)  # 5 and 8 of 10 epochs, stretched to 61 (banker's 30.5)
    assert len(plan) == len(expand([experiment(seeds=2, chains=1)])) + 2
