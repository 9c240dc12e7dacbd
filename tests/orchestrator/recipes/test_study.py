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


@pytest.mark.parametrize(
    ("question", "changes", "sentence"),
    [
        ("barrier_of_signed_minus_retrain", {}, "measures no barrier of retrain; give probe_rounds, and name transf"),
        ("chord_of_signed_minus_mask", {"probe_rounds": []}, "measures no chord of signed; give probe_rounds"),
        ("stability_of_signed_minus_mask", {}, "measures no stability of mask; give probe_rounds, and name the start"),
        ("stability_of_signed_minus_retrain", {"seeds": 1}, "measures no stability of retrain"),
        ("curvature_of_signed_minus_mask", {}, "no curvature of signed; name curvature in probes, give"),
        ("repaired_barrier_of_signed_minus_mask", {"probes": ["aligned_barrier"]}, "no repaired_barrier of signed;"),
        ("aligned_barrier_of_signed_minus_retrain", {"probes": ["aligned_barrier"]}, "of retrain; .*on both sides"),
        ("curvature_of_signed_minus_mask", {"probes": ["curvature"], "probe_rounds": []}, "measures no curvature of"),
        ("sign_flips_of_signed_minus_dense_same_budget", {}, "of dense_same_budget; .*, and name the retrain or"),
        ("accuracy_of_dense_same_budget_minus_mask", {}, "dense networks belong to no method and no density"),
        ("accuracy_of_signed_minus_dense_same_budget", {"seeds": 1}, "one dense training has no spread, .* seeds: 2"),
    ],
)
def test_a_question_that_no_stage_answers_is_refused(question: str, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        experiment(**{"dense_same_budget": True, "study": {"primary": [question]}, "transfer_rounds": [15], **changes})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("stability_of_aws_signed_minus_lrr_signed", {}),
        ("sign_flips_of_signed_minus_retrain", {"transfer_rounds": [15], "probe_rounds": []}),
        ("curvature_of_aws_signed_minus_lrr_signed", {"probes": ["curvature"]}),
        ("aligned_barrier_of_signed_minus_mask", {"probes": ["aligned_barrier"]}),
        ("activation_aligned_barrier_of_signed_minus_mask", {"probes": ["activation_aligned_barrier"]}),
        ("repaired_barrier_of_signed_minus_mask", {"probes": ["repaired_barrier"]}),
    ],
)
def test_a_question_may_be_about_any_measure_and_method_that_the_sweep_has(name: str, changes: dict[str, Any]) -> None:
    [study] = expand([experiment(study={"primary": [name]}, **changes)]).studies
    assert study.primary == [name]


def test_dense_training_of_the_same_budget_has_the_epochs_of_a_chain_and_a_final_training() -> None:
    plan = expand([experiment(dense_same_budget=True, seeds=2, chains=1)])
    stages = [node.stage for node in plan if node.labels.transfer == "dense_same_budget"]
    assert len(stages) == 2
    for stage in stages:
        assert isinstance(stage, Train)
        assert stage.training.epochs == 6 + 15 * 3 + 10
        assert stage.training.schedule.milestones == (30, 49)  # 5 and 8 of 10 epochs, stretched to 61 (banker's 30.5)
    assert len(plan) == len(expand([experiment(seeds=2, chains=1)])) + 2


def test_rounds_are_tested_without_changing_a_key_and_with_nothing_else_trained() -> None:
    chain = {"methods": ["imp"], "chains": 1, "seeds": 1, "rounds": 2, "twins": []}
    whole = expand([experiment(**chain)])
    none = {"transfers": [], "transfer_rounds": [], "probe_rounds": [], "test_rounds": True}
    tested = expand([experiment(**chain, **none)])
    assert tested.counts() == {"train dense": 1, "pretrain": 2, "round": 2, "train round_end": 3}
    assert {key for key, node in tested.nodes.items() if node.labels.transfer != "round_end"} <= whole.nodes.keys()
    ends = [node for node in tested if node.labels.transfer == "round_end"]
    assert [node.labels.round for node in ends] == [0, 1, 2]
    for node in ends:
        assert isinstance(node.stage, Train)
        assert len(node.stage.training.span) == 0
        assert tested.nodes[node.inputs["ticket"]].labels.round == node.labels.round


def test_the_start_of_a_tested_round_may_be_a_primary_question() -> None:
    name = "accuracy_of_lrr_round_end_minus_imp_round_end"
    recipe = {"methods": ["lrr", "imp"], "test_rounds": True, "study": {"primary": [name]}}
    assert expand([experiment(**recipe)]).studies[0].primary == [name]
    with pytest.raises(RecipeError, match="compares 'lrr_round_end'"):
        experiment(**{**recipe, "test_rounds": False})
