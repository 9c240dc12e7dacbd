"""``python -m benchmarks.precision`` pairs trainings in two precisions, over sittings and machines."""

import math
from pathlib import Path
from statistics import mean, stdev

import pytest
from scipy.special import stdtrit

from benchmarks import precision
from benchmarks.finished_store import write_finished
from orchestrator.planning.algorithm import expand
from orchestrator.planning.plan import Plan
from orchestrator.recipes.experiment_file import ExperimentRequest
from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.layers import read_fast, read_recipe_file
from orchestrator.recipes.resolution import resolve
from orchestrator.store import Store
from workers.stages.execution import Execution


def test_precisions_are_compared_by_chain_as_far_as_both_are_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracy: dict[tuple[str, str, int], float] = {}
    for name, value, chains in (("float32", None, 6), ("bfloat16", "bfloat16", 5)):
        layers = [read_recipe_file(precision.RECIPE), {"chains": chains, **({"precision": value} if value else {})}]
        write_finished(tmp_path / name, expand([Experiment(resolve("cifar10", "resnet20", "sound", layers), "tested")]))
        for record in Store(tmp_path / name).records().values():
            if record.labels.transfer is not None and record.labels.chain is not None and not record.labels.twin:
                found = record.results.get("test_accuracy_percent", math.nan)
                accuracy[name, record.labels.transfer, record.labels.chain] = round(found, 2)
    monkeypatch.setattr(precision, "run", lambda *_, **__: pytest.fail("judging runs nothing"))
    measured = tmp_path / "pairs.csv"
    # measured elsewhere, before: its pairs count once
    rows = [f"1,{start},70.00,70.{start_place}5,another machine" for start_place, start in enumerate(precision.STARTS)]
    measured.write_text("\n".join([",".join(precision.COLUMNS), *rows]))
    for place, start in enumerate(precision.STARTS):
        accuracy["float32", start, 1], accuracy["bfloat16", start, 1] = 70.0, 70 + place / 10 + 0.05
    options = ["--judge", "--measured", str(measured)]
    assert precision.main([*options, "--store", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for start, title in (("retrain", "retrain"), ("signed", "signed transfer")):
        apart = [accuracy["bfloat16", start, chain] - accuracy["float32", start, chain] for chain in range(1, 6)]
        half = stdtrit(4, 0.975) * stdev(apart) / math.sqrt(5)
        low, high = mean(apart) - half, mean(apart) + half
        within = "within" if max(-low, high) <= 0.5 else "not shown to be within"
        interval = f"{mean(apart):+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}, 5 chains: {within} 0.5 points."
        assert f"{title}: bfloat16 - float32: {interval}" in shown
    assert precision.main(options) == 0  # the file alone has them all
    assert capsys.readouterr().out == shown


def test_both_precisions_go_on_by_a_chain_in_turn_and_a_failure_ends_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, set[int | None]]] = []

    def run(plan: Plan, experiments: list[Experiment], store: Store, *_: object) -> int:
        ran.append((experiments[0].recipe.precision, {node.labels.chain for node in plan}))
        assert store.root == str(tmp_path / experiments[0].recipe.precision)
        assert {upstream for node in plan for upstream in node.inputs.values()} <= plan.nodes.keys()
        return 3 if len(ran) == 4 else 0

    monkeypatch.setattr(precision, "find_experiments", find_without_data)
    monkeypatch.setattr(precision, "run", run)
    monkeypatch.setattr(precision, "measured_pairs", lambda store: precision.read_measured(tmp_path / "none.csv"))
    measured = tmp_path / "pairs.csv"
    measured.write_text(f"{','.join(precision.COLUMNS)}\n2,signed,70.00,70.10,a machine\n")
    assert precision.main(["--store", str(tmp_path), "--measured", str(measured)]) == 3
    assert ran == [("float32", {3}), ("bfloat16", {3}), ("float32", {4}), ("bfloat16", {4})]


def find_without_data(request: ExperimentRequest, execution: Execution) -> list[Experiment]:
    """The experiment of a request, without looking for CIFAR-10."""
    return [Experiment(resolve("cifar10", "resnet20", "sound", request.layers), "tested")]


def test_fast_leaves_the_trainings_of_the_comparison_uncompiled() -> None:
    fields = read_recipe_file(precision.RECIPE)
    assert max(fields[f"{name}_epochs"] for name in ("pretrain", "round", "final")) < read_fast()["compile_from_epochs"]
