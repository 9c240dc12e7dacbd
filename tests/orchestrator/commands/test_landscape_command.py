"""Landscapes: planning and its refusals, and the command on a store of MNIST-1D."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from analysis import load
from analysis.figures import landscape as draw
from orchestrator import gc, landscape, status
from orchestrator.planning.landscape import plan_landscape
from orchestrator.planning.plan import Node, Plan
from orchestrator.store import Store, StoreError
from orchestrator.store.plans import StoredPlan
from orchestrator.store.record import Labels, StageIdentity
from tests.orchestrator.recipes.small_recipes import plan_of, recipe
from tests.orchestrator.store.stores import invoke
from tests.support import small_sweeps
from tests.support.sweep_processes import by_name, in_process, no_report
from workers.stages import Landscape, to_science

pytestmark = pytest.mark.slow(seconds=45)

# --- what may be asked for -------------------------------------------------------------------------------------------


def known(plan: Plan) -> dict[str, StageIdentity]:
    """A plan's stages as a store tells of them."""
    return {
        node.key: StageIdentity(
            key=node.key,
            kind=node.stage.kind,
            name=node.name,
            labels=node.labels,
            inputs=dict(node.inputs),
            science=json.loads(json.dumps(to_science(node.stage))),
        )
        for node in plan
    }


def request(plan: Plan, *names: str) -> tuple[Plan, Node]:
    keys = [node.key for name in names for node in plan if node.name == name]
    assert len(keys) == 3
    return plan_landscape(known(plan), set(plan.nodes), keys, 5, 0.25)


ROUND = "tiny/resnet1d/aws/chain1/round02"
THREE = (f"{ROUND}/retrain/seed1", f"{ROUND}/signed/seed1", f"{ROUND}/signed/seed1/twin")


def test_a_landscape_is_planned_with_all_stages_upstream_of_its_solutions() -> None:
    sweep = plan_of(recipe(bn_images=77))
    plan, node = request(sweep, *THREE)
    assert node.stage == Landscape(sweep.nodes[node.inputs["a"]].stage.setting, 5, 0.25, 32, 77, None)  # as the probes
    assert node.name == f"{ROUND}/landscape/retrain-seed1+signed-seed1+signed-seed1-twin"
    assert node.labels == Labels(
        dataset="tiny",
        architecture="resnet1d",
        preset="sound",
        method="aws",
        chain=1,
        round=2,
        seed=1,
    )
    made_from = {each.name for each in plan} - {node.name}
    assert made_from == {f"tiny/resnet1d/aws/chain1/round0{n}" for n in (0, 1, 2)} | set(THREE)
    assert all(sweep.nodes[key] == each for key, each in plan.nodes.items() if each is not node)


def test_borrowed_trainings_are_not_stored_with_the_landscape() -> None:
    plan, node = request(plan_of(recipe()), *THREE)
    stored = plan.stored([], 1.0)
    assert [stage.key for stage in stored.stages] == [node.key]
    assert stored.science(stored.stages[0]) == to_science(node.stage)


def test_a_recipes_landscape_and_the_commands_landscape_are_one_stage() -> None:
    starts = ("retrain", "signed", "mask")
    sweep = plan_of(recipe(landscapes=(starts,), landscape_points=5, bn_images=77))
    _, node = request(sweep, *(f"{ROUND}/{start}/seed1" for start in starts))
    assert sweep.nodes[node.key] == node


def test_a_store_without_probes_re_estimates_as_the_default_recipe_does() -> None:
    _, node = request(
        plan_of(recipe(dataset="mnist1d", probe_rounds=())), *(n.replace("tiny", "mnist1d") for n in UNPROBED)
    )
    assert isinstance(node.stage, Landscape)
    assert (node.stage.batch_size, node.stage.bn_images) == (128, 1024)


UNPROBED = (f"{ROUND}/retrain/seed1", f"{ROUND}/signed/seed1", f"{ROUND}/mask/seed1")


PLANS = {
    "narrow": plan_of(recipe(model={"width": 4})),
    "wide": plan_of(recipe(model={"width": 8})),
    "other data": plan_of(recipe(dataset="mnist1d", model={"width": 4})),
}


@pytest.mark.parametrize(
    ("which", "third", "message"),
    [
        ("narrow", "signed/lmc/seed1", "signed/lmc/seed1 is a probe, not a training; name three trainings"),
        ("narrow", "signed/seed1", "named twice"),
        ("wide", "mask/seed1", "was made with model.options.width 8 and .* with 4"),
        ("other data", "mask/seed1", "different sections"),
    ],
)
def test_an_impossible_landscape_gives_one_sentence(which: str, third: str, message: str) -> None:
    stages = Plan({key: node for plan in PLANS.values() for key, node in plan.nodes.items()})
    wanted_names = (("narrow", "retrain/seed1"), ("narrow", "signed/seed1"), (which, third))
    keys = [
        node.key
        for plan, name in wanted_names
        for node in PLANS[plan]
        if node.name.endswith(f"aws/chain1/round02/{name}")
    ]
    with pytest.raises(StoreError, match=message):
        plan_landscape(known(stages), set(), keys, 5, 0.25)


def test_an_infinite_margin_is_refused() -> None:
    plan = plan_of(recipe())
    keys = [node.key for node in plan if node.name in THREE]
    with pytest.raises(StoreError, match="--margin inf"):
        plan_landscape(known(plan), set(), keys, 5, float("inf"))


# --- the command -----------------------------------------------------------------------------------------------------

CHAIN = "mnist1d/resnet1d/aws/chain1/round01"
SOLUTIONS = (f"{CHAIN}/signed/seed1", f"{CHAIN}/retrain/seed1", f"{CHAIN}/mask/seed1")


def options(folder: Path, store: Path) -> list[object]:
    where = ["--store", store, "--data-cache", folder / "cache", "--backend", "inline", "--device", "cpu"]
    return ["--datasets", "mnist1d", "--recipe", folder / "small.yaml", *where]


def asked(folder: Path, store: Path, *names: str, points: int = 4, report: bool = False) -> tuple[int, str]:
    """Return exit code and output of the command for three solutions; draw the report only where a test reads it."""
    arguments = ["--points", points, "--device", "cpu", "--data-cache", folder / "cache"]
    with nullcontext() if report else no_report():
        code, output = invoke(landscape.app, store, *names, *arguments)
    return code, output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("landscape")
    fields: dict[str, Any] = {**small_sweeps.SHORT, **small_sweeps.ONE_ROUND, "transfers": ["signed", "mask"]}
    (directory / "small.yaml").write_text(yaml.safe_dump({**fields, "batch_size": 256, "bn_images": 512}))
    return directory


@pytest.fixture(scope="module")
def swept(folder: Path) -> Path:
    """A sweep's store, which no test changes."""
    code, output = in_process(*options(folder, folder / "swept"))
    assert code == 0, output
    return folder / "swept"


@pytest.fixture(scope="module")
def drawn(folder: Path, swept: Path) -> tuple[Path, str]:
    """A copy of that store with a landscape, and the command's output."""
    store = Path(shutil.copytree(swept, folder / "drawn"))
    code, output = asked(folder, store, *SOLUTIONS, report=True)
    assert code == 0, output
    return store, output


def rows(store: Path) -> list[dict[str, Any]]:
    [path] = store.glob("stages/landscape/*/attempts/1/out/landscape.parquet")
    table: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return table


def test_errors_at_the_solutions_equal_those_at_the_ends_of_their_probe(drawn: tuple[Path, str]) -> None:
    store, output = drawn
    assert f"Report: {store / 'report.html'}" in output
    grid = rows(store)
    assert [row["solution"] for row in grid] == ["a", "b", "c", *[None] * 16]
    probe = by_name(store)[f"{CHAIN}/signed/lmc/seed1"]
    retrain, _, signed = pq.read_table(Path(store) / Store(store).out(probe.key) / "probe.parquet").to_pylist()
    for row, end in zip(grid[:2], (signed, retrain), strict=True):
        assert {name: row[name] for name in end if name != "lambda"} == {n: v for n, v in end.items() if n != "lambda"}
    record = next(record for record in by_name(store).values() if record.kind == "landscape")
    assert record.results["same_mask"] is True
    assert record.results["highest_error_percent"] == max(row["error_percent"] for row in grid)


def test_a_landscape_makes_no_stage_of_the_sweep_missing_or_superseded(drawn: tuple[Path, str], swept: Path) -> None:
    store, _ = drawn
    before, frames = load(swept), load(store)
    assert frames.planned == before.planned + 1
    assert frames.missing.empty
    assert not frames.stages["superseded"].any()
    assert invoke(status.app, store, "--json", read=True)["planned"] == frames.planned
    assert len(draw(frames).data) == 4
    assert "error landscape through three" in (store / "report.html").read_text()
    assert not draw(before).data  # the page leaves out a figure without traces


def test_a_landscape_is_computed_once_and_a_later_sweep_still_wants_it(
    drawn: tuple[Path, str], folder: Path, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(drawn[0], tmp_path / "store"))
    code, output = asked(folder, store, *SOLUTIONS)
    assert code == 0
    assert "Nothing to compute" in output
    planned = load(store).planned
    code, output = in_process(*options(folder, store))
    assert code == 0, output
    assert load(store).planned == planned


def test_a_sweep_whose_recipe_names_a_computed_landscape_computes_nothing(
    drawn: tuple[Path, str], folder: Path, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(drawn[0], tmp_path / "store"))
    fields = ["--set", "landscapes=[[signed, retrain, mask]]", "--set", "landscape_points=4"]
    code, output = in_process(*options(folder, store), *fields)
    assert code == 0, output
    assert "Nothing to compute" in output


def test_a_sweep_computes_the_landscapes_of_its_recipe_and_shows_them_in_plan_and_figure(
    swept: Path, folder: Path, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(swept, tmp_path / "store"))
    fields = ["--set", "landscapes=[[retrain, signed, mask]]", "--set", "landscape_points=3"]
    code, output = in_process(*options(folder, store), *fields, "--plan")
    assert code == 0, output
    assert re.search(r"^landscape +1 +0 +1 ", output, re.MULTILINE), output
    code, output = in_process(*options(folder, store), *fields)
    assert code == 0, output
    frames = load(store)
    assert frames.missing.empty
    assert len(frames.landscapes["key"].unique()) == 1
    assert len(draw(frames).data) == 4
    solutions = (f"{CHAIN}/{start}/seed1" for start in ("retrain", "signed", "mask"))
    code, output = asked(folder, store, *solutions, points=3)
    assert code == 0, output
    assert "Nothing to compute" in output


def test_a_landscape_in_an_older_versions_plan_replaces_no_sweep_and_is_still_wanted(
    drawn: tuple[Path, str], folder: Path, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(drawn[0], tmp_path / "store"))
    planned = load(store).planned
    plans = {path: StoredPlan.model_validate_json(path.read_text()) for path in store.glob("plans/*")}
    [(path, plan)] = [(path, plan) for path, plan in plans.items() if plan.stages[0].kind == "landscape"]
    path.write_text(plan.model_copy(update={"on_request": True}).sealed().model_dump_json())
    assert load(store).planned == planned
    code, output = asked(folder, store, *SOLUTIONS)
    assert code == 0, output
    assert "Nothing to compute" in output
    assert load(store).planned == planned


def test_collected_weights_are_computed_again(drawn: tuple[Path, str], folder: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(drawn[0], tmp_path / "store"))
    for path in store.glob("stages/landscape/*"):
        shutil.rmtree(path)
    shutil.rmtree(store / "plans")
    shutil.copytree(folder / "swept" / "plans", store / "plans")
    (store / "index.jsonl").unlink()
    assert invoke(gc.app, store, "--delete")[0] == 0
    assert not list(store.glob("stages/train/*/attempts/*/out/weights.safetensors"))
    code, output = asked(folder, store, *SOLUTIONS)
    assert code == 0, output
    assert "computed again" in output
    assert rows(store) == rows(drawn[0])


@pytest.mark.parametrize(
    ("third", "message"),
    [
        (f"{CHAIN}/mask/seed7", "the nearest names are"),
        (f"{CHAIN}/signed/lmc/seed1", "is a probe"),
        ("seed1", "name one of them"),
        (SOLUTIONS[0], "named twice"),
    ],
)
def test_a_bad_name_gives_one_sentence(swept: Path, folder: Path, third: str, message: str) -> None:
    code, output = asked(folder, swept, *SOLUTIONS[:2], third)
    assert code == 2
    assert output.count("\n") == 1
    assert message in output
    assert not list(swept.glob("stages/landscape"))


def test_an_unfinished_training_gives_one_sentence(swept: Path, folder: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(swept, tmp_path / "store"))
    for path in store.glob("stages/train/*-mask-seed1-*/record.json"):
        path.unlink()
    code, output = asked(folder, store, *SOLUTIONS)
    assert (code, output.count("\n")) == (2, 1)
    assert f"{SOLUTIONS[2]} is waiting" in output


def test_help_has_an_example() -> None:
    code, output = invoke(landscape.app, "--help")
    assert code == 0
    assert "python -m orchestrator.landscape " in output
