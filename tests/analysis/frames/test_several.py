"""Several stores as one: what both hold is one result, recipes never mix, and differences are named."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from analysis import load
from analysis.checks import app as checks_app
from analysis.figures import CATALOGUE
from analysis.judge import app as judge_app
from analysis.page.rendering import render
from analysis.report import app, write_report
from orchestrator.store import Store, StoreError
from orchestrator.store.record import Record
from orchestrator.verify import app as verify_app
from tests.analysis.conftest import SyntheticStore
from tests.orchestrator.store.stores import SmallStore, planned_stage
from tickets.files import digest
from workers.attempts.workspace import Artifact
from workers.storage.schemas import SIGNS, SIGNS_SCHEMA

LABELS: dict[str, Any] = {"method": "aws", "chain": 1, "round": 5}


@pytest.fixture
def stores(tmp_path: Path) -> tuple[SyntheticStore, SyntheticStore]:
    """Two stores with a transfer each, and one that both hold."""
    both = SyntheticStore(tmp_path / "mine"), SyntheticStore(tmp_path / "theirs")
    for seed, store in enumerate(both, start=1):
        store.train("signed", 60.0 + seed, seed=seed, **LABELS)
        store.train("mask", 50.0, seed=1, **LABELS)
    return both


def roots(stores: tuple[SyntheticStore, ...]) -> list[Path]:
    return [store.root for store in stores]


def test_a_stage_that_both_stores_hold_is_one_result(stores: tuple[SyntheticStore, SyntheticStore]) -> None:
    frames = load(roots(stores))
    assert sorted(frames.stages["transfer"]) == ["mask", "signed", "signed"]
    assert dict(frames.stages[["test_accuracy_percent", "store"]].to_numpy()) == {
        50.0: str(stores[0].root),
        61.0: str(stores[0].root),
        62.0: str(stores[1].root),
    }
    accuracies = frames.metrics.loc[frames.metrics["split"] == "test", "accuracy_percent"]
    assert sorted(accuracies) == [50.0, 61.0, 62.0]
    assert frames.disagreements.empty


def test_a_store_named_twice_is_one_store(stores: tuple[SyntheticStore, SyntheticStore]) -> None:
    root = stores[0].root
    assert len(load([root, str(root)]).stages) == len(load(root).stages) == 2


def _changed(root: Path, transfer: str, **fields: Any) -> None:
    """Commit another result of a stage."""
    for path in root.glob("stages/train/*/record.json"):
        record = Record.model_validate_json(path.read_bytes())
        if record.labels.transfer == transfer:
            path.write_text(record.model_copy(update=fields).sealed().model_dump_json())


def test_signs_over_time_are_compared_only_where_both_stores_recorded_them(tmp_path: Path) -> None:
    recorded = {"sign_flips_percent": 5.0, "sign_lock_in_epochs": 2.0, "psi_drift_rms": 0.1}
    table = pa.Table.from_pylist([{"step": 0, "epoch": 0.0, "parameter": "a.weight", "elements": 9}], SIGNS_SCHEMA)

    def store(name: str, results: dict[str, float], files: dict[str, pa.Table]) -> Path:
        made = SyntheticStore(tmp_path / name)
        made.stage("round", LABELS, {"density": 0.33, **results}, files=files)
        return made.root

    earlier = store("earlier", {}, {})
    mine = store("mine", recorded, {SIGNS: table})
    theirs = store("theirs", {**recorded, "sign_flips_percent": 6.0}, {SIGNS: table})
    assert load([earlier, mine]).disagreements.empty
    assert load([mine, earlier]).disagreements.empty
    assert load([mine, theirs]).disagreements["differs"].tolist() == ["sign_flips_percent"]


def test_another_result_of_one_stage_is_named_and_the_first_store_counts(
    stores: tuple[SyntheticStore, SyntheticStore], tmp_path: Path
) -> None:
    mine, theirs = roots(stores)
    _changed(theirs, "mask", results={"density": 0.8**5, "test_accuracy_percent": 51.0, "test_loss_nats": 1.0})
    for order, accuracy in (([mine, theirs], 50.0), ([theirs, mine], 51.0)):
        frames = load(order)
        [row] = frames.disagreements.to_dict("records")
        assert (row["store"], row["other_store"]) == tuple(map(str, order))
        assert row["differs"] == "test_accuracy_percent"
        assert frames.stages.loc[frames.stages["transfer"] == "mask", "test_accuracy_percent"].tolist() == [accuracy]
    assert "differ in test_accuracy_percent" in render(frames, "both", str, catalogue=CATALOGUE[:1])
    result = CliRunner().invoke(app, [str(mine), str(theirs), "--export", str(tmp_path / "tables")])
    assert f"{mine} and {theirs} differ in test_accuracy_percent; the first counts" in result.stderr


def _rewritten(root: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write a table of the stages that both stores hold as other bytes, and commit them."""
    for path in root.glob("stages/*/*/record.json"):
        record = Record.model_validate_json(path.read_bytes())
        if record.labels.transfer == "mask" and name in record.files:
            file = path.parent / record.out / name
            pq.write_table(change(pq.read_table(file)), file, compression="zstd")
            artifact = Artifact(size_bytes=file.stat().st_size, blake2b=digest.of_file(file))
            files = {**record.files, file.name: artifact}
            path.write_text(record.model_copy(update={"files": files}).sealed().model_dump_json())


def test_tables_differ_in_their_rows_not_in_how_they_were_written(
    stores: tuple[SyntheticStore, SyntheticStore],
) -> None:
    theirs = stores[1].root
    _rewritten(theirs, "metrics.parquet", lambda table: table)
    assert load(roots(stores)).disagreements.empty
    _rewritten(
        theirs, "metrics.parquet", lambda table: table.set_column(2, "loss_nats", pc.add(table["loss_nats"], 1e-9))
    )
    assert load(roots(stores)).disagreements["differs"].tolist() == ["metrics.parquet"]


def test_columns_that_both_stores_wrote_are_compared_and_those_of_newer_versions_are_not(
    stores: tuple[SyntheticStore, SyntheticStore],
) -> None:
    column = "barrier_above_chord_points"
    for store, points in zip(stores, (1.0, 2.0), strict=True):
        store.probe("lmc", "mask", (40.0, 45.0, 40.0), **LABELS)
        _rewritten(store.root, "barrier.parquet", lambda table: table.append_column(column, pa.array([points])))  # noqa: B023  called at once
    assert load(roots(stores)).disagreements["differs"].tolist() == ["barrier.parquet"]
    _rewritten(stores[1].root, "barrier.parquet", lambda table: table.drop_columns(column))
    assert load(roots(stores)).disagreements.empty


def test_seconds_of_a_stage_may_differ(stores: tuple[SyntheticStore, SyntheticStore]) -> None:
    _changed(stores[1].root, "mask", seconds=99.0)
    assert load(roots(stores)).disagreements.empty


def test_another_recipe_of_a_part_is_left_out_as_in_one_store(
    stores: tuple[SyntheticStore, SyntheticStore], tmp_path: Path
) -> None:
    other = SyntheticStore(tmp_path / "longer")
    other._clock += 1000
    other.train("signed", 90.0, science={"epochs": 300}, seed=1, **LABELS)
    stages = load([*roots(stores), other.root]).stages
    assert stages.loc[~stages["superseded"], "test_accuracy_percent"].tolist() == [90.0]
    assert stages["superseded"].sum() == 3


def test_what_one_store_lacks_another_may_have(stores: tuple[SyntheticStore, SyntheticStore]) -> None:
    mine, theirs = stores
    done = load(theirs.root).stages.set_index("test_accuracy_percent").loc[62.0]
    mine.plan((done["name"], done["key"]))
    mine.failure(done["name"], done["key"], "diverged")
    assert len(load(mine.root).missing) == 1
    frames = load(roots(stores))
    assert (len(frames.missing), len(frames.failures)) == (0, 0)


def test_a_damaged_record_is_left_out_only_if_no_store_has_it_whole(
    stores: tuple[SyntheticStore, SyntheticStore],
) -> None:
    for record in stores[0].root.glob("stages/train/*/record.json"):
        record.write_text("{")
    with pytest.raises(StoreError, match="no valid record"):
        load(roots(stores))
    frames = load(roots(stores), leave_out=True)
    assert len(frames.left_out) == 1
    assert len(frames.stages) == 2


def test_the_methods_rules_are_checked_on_all_stores(stores: tuple[SyntheticStore, SyntheticStore]) -> None:
    result = CliRunner().invoke(checks_app, [*map(str, roots(stores)), "--json"])
    checked = json.loads(result.stdout)
    assert checked["stores"] == [str(root) for root in roots(stores)]
    artifacts = next(row for row in checked["checks"] if row["rule"].startswith("Every artifact"))
    assert artifacts["counted"] == 3


def test_several_stores_are_judged_as_one(stores: tuple[SyntheticStore, SyntheticStore]) -> None:
    stores[1].train("mask", 51.0, seed=2, **LABELS)
    result = CliRunner().invoke(judge_app, [*map(str, roots(stores)), "--json"])
    [part] = json.loads(result.stdout)["parts"]
    [row] = part["comparisons"]
    assert (row["pairs"], row["difference"]) == (2, pytest.approx(11.0))


@pytest.mark.usefixtures("one_figure")
def test_the_page_links_into_each_store(stores: tuple[SyntheticStore, SyntheticStore], tmp_path: Path) -> None:
    page = Path(write_report(roots(stores), tmp_path / "page.html")).read_text()
    data = json.loads(page.split('id="stages">', 1)[1].split("</script>", 1)[0])
    folders = data["columns"]["folder"]
    folders = folders if isinstance(folders, list) else folders["values"]
    assert data["base"] == ""
    assert {folder.split("/")[0] for folder in folders} == {"mine", "theirs"}
    assert all((tmp_path / folder / "record.json").exists() for folder in folders)


@pytest.mark.usefixtures("one_figure")
def test_the_page_of_a_store_and_its_copy_links_into_the_store(
    stores: tuple[SyntheticStore, SyntheticStore], tmp_path: Path
) -> None:
    mine, _ = stores
    shutil.copytree(mine.root, tmp_path / "copy")
    for compare in ([], ["--compare"]):
        words = [str(mine.root), str(tmp_path / "copy"), "--out", str(tmp_path / "page.html"), *compare]
        assert CliRunner().invoke(app, words).exit_code == 0
        html = (tmp_path / "page.html").read_text()
        data = json.loads(html.split('id="stages">', 1)[1].split("</script>", 1)[0])
        assert data["base"] == ""
        assert all((tmp_path / folder / "record.json").exists() for folder in data["columns"]["folder"])


def test_a_report_of_several_stores_needs_a_file(stores: tuple[SyntheticStore, SyntheticStore]) -> None:
    result = CliRunner().invoke(app, [str(root) for root in roots(stores)])
    assert result.exit_code == 2
    assert "give its file with --out" in result.stderr
    assert not any(root.joinpath("report.html").exists() for root in roots(stores))


def test_a_store_that_is_missing_is_named(stores: tuple[SyntheticStore, SyntheticStore], tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere: there is no such store"):
        load([stores[0].root, tmp_path / "nowhere"])
    with pytest.raises(StoreError, match="no store is named"):
        load([])


def merged(mine: Path, theirs: Path) -> Result:
    """Copy a store into another one, as docs/store.md says, and verify it."""
    folders = [str(theirs / name) for name in ("stages", "plans", "events") if (theirs / name).exists()]
    subprocess.run(["cp", "-rn", *folders, str(mine)], check=False)
    return CliRunner().invoke(verify_app, [str(mine)])


def test_stores_are_merged_by_copying_their_folders(tmp_path: Path) -> None:
    both, ours, other = (planned_stage(name) for name in ("both", "ours", "other"))
    mine, theirs = SmallStore(tmp_path / "mine"), SmallStore(tmp_path / "theirs")
    for store, stages in ((mine, (both, ours)), (theirs, (both, other))):
        store.plan(*stages)
        for stage in stages:
            store.commit(stage)
    done = merged(tmp_path / "mine", tmp_path / "theirs")
    assert (done.exit_code, "nothing broken" in done.stdout) == (0, True)
    merged_store = Store(tmp_path / "mine")
    assert sorted(merged_store.records()) == sorted(stage.key for stage in (both, ours, other))
    assert len(merged_store.plans()) == 2
    assert load(merged_store).missing.empty


def test_an_unfinished_attempt_in_the_way_of_a_merge_is_computed_again(tmp_path: Path) -> None:
    stage = planned_stage("both")
    mine, theirs = SmallStore(tmp_path / "mine"), SmallStore(tmp_path / "theirs")
    for store in (mine, theirs):
        store.plan(stage)
        store.commit(stage)
    next((tmp_path / "mine").glob("stages/*/*/record.json")).unlink()
    next((tmp_path / "mine").glob("stages/*/*/attempts/1/out/weights.safetensors")).write_bytes(b"half")
    done = merged(tmp_path / "mine", tmp_path / "theirs")
    assert done.exit_code == 1
    assert "weights.safetensors differs from its record" in done.stdout
    assert "the next sweep computes again: both" in done.stdout
    assert Store(tmp_path / "mine").records() == {}
