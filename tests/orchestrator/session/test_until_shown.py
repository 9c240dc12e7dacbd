"""Chains are added look by look, until every primary question is decided or the last look is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from orchestrator.planning.algorithm import expand
from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.layers import RecipeError
from orchestrator.recipes.resolution import resolve
from orchestrator.session.until_shown import Section, at_last_look, check_looks, run_until_shown, undecided
from orchestrator.store import Store, StoreError
from workers.terminal.console import Console


def experiment(dataset: str = "mnist1d", **study: Any) -> Experiment:
    changes = {"study": study, "chains": 2, "rounds": 2, "probe_rounds": [2]}
    return Experiment(resolve(dataset, "resnet1d" if dataset == "mnist1d" else "resnet20", "sound", [changes]), "data")


class Study:
    """Stands for a store: runs are looks that are done, and each part is decided at a number of chains."""

    def __init__(self, decided_at: Mapping[str, int], code: int = 0) -> None:
        self.decided_at, self.code = decided_at, code
        self.done: dict[Section, list[int]] = {}
        self.runs: list[dict[str, int]] = []

    def run(self, experiments: Sequence[Experiment]) -> int:
        self.runs.append({each.recipe.dataset: each.recipe.chains for each in experiments})
        self.looks = expand(experiments).studies
        for each in experiments:
            labels = (each.recipe.dataset, each.recipe.arch, each.recipe.preset)
            self.done.setdefault(labels, []).append(each.recipe.chains)
        return self.code

    def judged(self, store: Store) -> dict[Section, dict[str, Any]]:
        return {
            labels: {
                "decided": done[-1] >= self.decided_at[labels[0]],
                "looks": [{"chains": chains, "done": True} for chains in done],
                "verdict": "Signs carry",
                "chains_needed": 40,
            }
            for labels, done in self.done.items()
        }

    def until_shown(self, *experiments: Experiment) -> int:
        return run_until_shown(experiments, Store("nowhere"), self.run, Console(), self.judged)


def test_chains_are_added_until_the_questions_are_decided(capsys: pytest.CaptureFixture[str]) -> None:
    study = Study({"mnist1d": 4})
    assert study.until_shown(experiment(max_chains=6)) == 0
    assert study.runs == [{"mnist1d": 2}, {"mnist1d": 3}, {"mnist1d": 4}]
    assert [look.looks for look in study.looks] == [[2, 3, 4, 5, 6]]  # every plan declares the same looks
    assert "decided, at 4 chains at most. Signs carry." in capsys.readouterr().out


def test_a_part_that_is_decided_gets_no_further_chain() -> None:
    study = Study({"mnist1d": 3, "cifar10": 9})
    study.until_shown(experiment(looks=[3, 6, 9]), experiment("cifar10", looks=[3, 6, 9]))
    assert study.runs == [{"mnist1d": 3, "cifar10": 3}, {"cifar10": 6}, {"cifar10": 9}]


def test_the_last_look_ends_a_study_that_is_not_decided(capsys: pytest.CaptureFixture[str]) -> None:
    study = Study({"mnist1d": 99})
    assert study.until_shown(experiment(looks=[2, 4])) == 0
    said = capsys.readouterr().out
    assert "not decided at 4 chains, the study's most; about 40 chains would decide" in " ".join(said.split())


def test_a_repeated_command_goes_on_after_the_looks_that_are_done() -> None:
    study = Study({"mnist1d": 4})
    study.done[("mnist1d", "resnet1d", "sound")] = [2, 3]
    study.until_shown(experiment(max_chains=6))
    assert study.runs == [{"mnist1d": 4}]


def test_a_run_that_fails_ends_the_study_with_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    study = Study({"mnist1d": 4}, code=130)
    assert study.until_shown(experiment(max_chains=6)) == 130
    assert len(study.runs) == 1
    assert "the look at 2 chains is not complete." in capsys.readouterr().out


def test_a_look_that_waits_for_another_sweep_is_no_other_look() -> None:
    study = Study({"mnist1d": 4})
    labels = ("mnist1d", "resnet1d", "sound")
    study.judged = lambda store: {labels: {"looks": [{"chains": 2, "done": False}]}}  # type: ignore[method-assign]
    with pytest.raises(StoreError, match=r"the look at 2 chains of .* waits for stages that another sweep planned"):
        study.until_shown(experiment(max_chains=6))


def test_a_store_with_other_looks_is_named_instead_of_running_for_ever() -> None:
    study = Study({"mnist1d": 4})
    study.judged = lambda store: {}  # type: ignore[method-assign]
    with pytest.raises(RecipeError, match="as a study with other looks"):
        study.until_shown(experiment(max_chains=6))


def test_without_a_last_look_there_is_no_end() -> None:
    with pytest.raises(RecipeError, match="--until-shown needs a limit"):
        check_looks([experiment()])
    assert at_last_look(experiment(max_chains=6)).recipe.chains == 6


def test_a_plan_knows_the_chains_that_a_result_still_needs() -> None:
    labels, part = ("mnist1d", "resnet1d", "sound"), {"decided": False, "chains_needed": 9}
    assert [each.recipe.chains for each in undecided([experiment()], {labels: part})] == [9]
    assert undecided([experiment()], {labels: {**part, "decided": True}}) == []
    assert undecided([experiment()], {labels: {**part, "chains_needed": None}}) == []
    assert undecided([experiment()], {labels: {**part, "chains_needed": 2}}) == []
    assert undecided([experiment()], {}) == []
