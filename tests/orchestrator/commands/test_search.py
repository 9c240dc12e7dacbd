"""``python -m orchestrator.search``, tested from outside: a search, a killed search that resumes, refusals. Slow."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from orchestrator.backends.base import BackendError
from orchestrator.backends.ray import cluster as ray_cluster
from orchestrator.search import app
from orchestrator.store import Store
from orchestrator.tuning.tuner import trial_needs
from tests.support import small_sweeps
from tests.support.command_lines import replacing
from tests.support.sweep_processes import Hold, assert_same_results, finish, in_process, kill_all, run, start, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow(seconds=60)]

TRIALS = 3
SEARCH = ("-m", "orchestrator.search")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_sweeps.prepare(tmp_path_factory.mktemp("search"), rounds=2)


def options(folder: Path, store: Path, *more: object) -> list[object]:
    """A search of a few seconds, one trial after another, so that what stops early is the same each time.

    Trial 1, the recipe itself, learns something; the others do not, with so small a learning rate.
    """
    where = ["--store", store, "--data-cache", folder / "cache", "--plugin", folder / "patterns.py"]
    what = ["--dataset", "patterns", "--arch", "resnet1d", "--recipe", folder / "small.yaml", "--trials", TRIALS]
    how = ["--rounds", 2, "--final-epochs", 8, "--space", "optimizer.learning_rate=0.0001..0.001"]
    return [*what, *where, *how, "--max-concurrent", 1, "--device", "cpu", *more]


def refused(*arguments: object) -> str:
    """What the command says, in this process; it must exit with 2 before it starts Ray."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "500"})
    assert result.exit_code == 2, result.output
    return result.output


@pytest.fixture(scope="module")
def searched(folder: Path) -> tuple[Path, str]:
    """The folder and output of an undisturbed search; tests must not change it."""
    code, output = run(*options(folder, folder / "whole"), program=SEARCH)
    assert code == 0, output
    return folder / "whole", output


def trials(store: Path) -> list[Path]:
    return sorted((store / "trials").iterdir())


def fields(recipe: Path) -> str:
    """A recipe file without the command that made it."""
    return "".join(line for line in recipe.read_text().splitlines(True) if not line.startswith("# Command"))


def test_a_search_writes_the_best_recipe_and_the_sweep_that_takes_it(folder: Path, searched: tuple[Path, str]) -> None:
    store, output = searched
    assert f"Recipe: {store / 'recipe.yaml'}" in output
    assert f"--datasets patterns --archs resnet1d --preset sound --recipe {store / 'recipe.yaml'}" in output
    assert "Traceback" not in output
    assert [path.name for path in trials(store)] == ["001", "002", "003"]
    text = (store / "recipe.yaml").read_text()
    assert f"# Best of {TRIALS} trials for patterns/resnet1d" in text
    sweep = ["--datasets", "patterns", "--archs", "resnet1d", "--plugin", folder / "patterns.py"]
    code, plan = in_process(*sweep, "--recipe", store / "recipe.yaml", "--store", folder / "none", "--plan", "--json")
    assert code == 0, plan
    assert len(json.loads(plan)["stages"]) > 10
    assert yaml.safe_load(text)["model"] == {"width": 4}


def test_no_stage_of_a_search_reads_the_test_set(searched: tuple[Path, str]) -> None:
    accuracies = []
    for folder in trials(searched[0]):
        for key, record in Store(folder).records().items():
            splits = pq.read_table(folder / Store(folder).out(key) / "metrics.parquet").column("split").to_pylist()
            assert "test" not in splits, record.name
            if record.kind == "train":
                assert record.labels.transfer == "signed"
                accuracies.append(record.results["validation_accuracy_percent"])
    assert f"{max(accuracies):.2f}" in searched[1]


def test_the_worse_half_stops_early(searched: tuple[Path, str]) -> None:
    kinds = [Counter(record.kind for record in Store(folder).records().values()) for folder in trials(searched[0])]
    assert kinds == [
        {"pretrain": 1, "round": 2, "train": 2},  # both rungs
        {"pretrain": 1, "round": 1, "train": 1},  # compared at depth 1, and stopped
        {"pretrain": 1, "round": 1, "train": 1},  # a fraction that is at the last depth after one round
    ]
    assert "trial 2   depth 1 " in searched[1]
    assert "trial 2   depth 2 " not in searched[1]
    assert "trial 3   depth 2 " in searched[1]


@pytest.mark.long
def test_a_killed_search_resumes_to_the_same_result(folder: Path, searched: tuple[Path, str], tmp_path: Path) -> None:
    store = tmp_path / "store"
    hold = Hold.at(tmp_path / "held", store / "trials" / "003", records=1)
    again = options(folder, store, "--plugin", hold.plugin, "--checkpoint-interval", 0)
    process = start(*again, program=SEARCH)
    try:
        wait_for(hold.is_held, process)
        before = {path: path.stat().st_mtime_ns for path in store.glob("trials/*/stages/*/*/record.json")}
        os.kill(process.pid, signal.SIGKILL)
        finish(process)
    finally:
        kill_all(process)
        hold.let_go()
    assert not (store / "recipe.yaml").exists()
    assert {path.relative_to(store).parts[1] for path in before} == {"001", "002", "003"}
    code, output = run(*again, program=SEARCH)
    assert code == 0, output
    after = {path: path.stat().st_mtime_ns for path in store.glob("trials/*/stages/*/*/record.json")}
    assert before.items() < after.items()
    assert "trial 1 " not in output.split("ended")[1]  # its rungs are kept, not run again
    for one, two in zip(trials(searched[0]), trials(store), strict=True):
        assert_same_results(one, two)
    assert fields(store / "recipe.yaml") == fields(searched[0] / "recipe.yaml")


def nodes(*resources: dict[str, float]) -> list[dict[str, object]]:
    """What Ray says of its nodes."""
    return [{"Alive": True, "Resources": found} for found in resources]


@pytest.mark.parametrize(
    ("share", "device", "resources", "needs"),
    [
        (None, "auto", [{"CPU": 4.0}], {"cpu": 1.0}),
        (None, "auto", [{"CPU": 4.0}, {"CPU": 8.0, "GPU": 2.0}], {"cpu": 1.0, "gpu": 0.25}),
        (None, "cpu", [{"CPU": 8.0, "GPU": 2.0}], {"cpu": 1.0}),
        (0.5, "cuda", [{"CPU": 1.0, "GPU": 1.0}], {"cpu": 1.0, "gpu": 0.5}),
        (
            0.5,
            "auto",
            [{"CPU": 4.0}],
            "--gpus-per-trial 0.5: no node of this Ray cluster has a CPU and that share of a GPU",
        ),
        (1.0, "auto", [{"CPU": 4.0}, {"GPU": 1.0}], "--gpus-per-trial 1: no node"),  # not both on one node
        (None, "cuda", [{"CPU": 4.0}], "--device cuda: no node"),
        (None, "auto", [{"GPU": 4.0}], "no node of this Ray cluster has a CPU for a trial"),
    ],
)
def test_a_trial_requests_resources_that_some_node_has(
    monkeypatch: pytest.MonkeyPatch,
    share: float | None,
    device: str,
    resources: list[dict[str, float]],
    needs: dict[str, float] | str,
) -> None:
    monkeypatch.setattr(ray_cluster.ray, "nodes", lambda: nodes(*resources))
    if isinstance(needs, dict):
        assert trial_needs(share, device) == needs
        return
    with pytest.raises(BackendError, match=needs):
        trial_needs(share, device)


@pytest.mark.parametrize(
    "share",
    [
        ["--gpus-per-trial", 0.5],
        ["--set", "gpus_per_trial=0.5"],
        ["--set", "gpus_per_trial=0.25", "--gpus-per-trial", 0.5],
    ],
    ids=lambda share: " ".join(map(str, share)),
)
def test_a_share_that_no_node_has_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: list[object]
) -> None:
    monkeypatch.setattr(ray_cluster, "connect", lambda address, cpus: None)
    monkeypatch.setattr(ray_cluster.ray, "nodes", lambda: nodes({"CPU": 2.0}))
    output = refused(*replacing(options(folder, tmp_path / "store"), ["--device", "auto", *share]))
    assert "--gpus-per-trial 0.5: no node of this Ray cluster has a CPU and that share of a GPU; leave it out" in output
    assert not (tmp_path / "store").exists()


def test_another_search_in_the_same_folder_is_refused(folder: Path, searched: tuple[Path, str]) -> None:
    before = (searched[0] / "search.json").read_bytes()
    output = refused(*options(folder, searched[0]), "--seed", 5)
    assert f"--store {searched[0]} holds another search: seed was 0 and is 5; give another --store" in output
    assert (searched[0] / "search.json").read_bytes() == before
