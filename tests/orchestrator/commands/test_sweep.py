"""The command line from outside, on the inline backend: a sweep, its repetition, extension, interruption, failure."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestrator.store import Store
from tests.support import small_sweeps
from tests.support.command_lines import replacing
from tests.support.sweep_processes import (
    WITHOUT_REPORT,
    Hold,
    assert_same_results,
    by_name,
    control_c,
    finish,
    in_process,
    kill_all,
    out,
    record_times,
    run,
    start,
    stop_files,
    tables,
    wait_for,
)

pytestmark = pytest.mark.slow(seconds=90)

STAGES = 21  # dense; for two methods pretrain, 2 rounds, retrain, 2 transfers, a twin, 2 LMC probes, a stability probe
WITHOUT_RAY = ("-c", f"import sys; sys.modules['ray'] = None; {WITHOUT_REPORT[1]}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_sweeps.prepare(tmp_path_factory.mktemp("cli"), **small_sweeps.TWO_ROUNDS)


def options(folder: Path, store: Path, *more: object) -> list[object]:
    """A sweep of a few seconds."""
    return small_sweeps.options(folder, store, *replacing(["--backend", "inline", "--device", "cpu"], more))


@pytest.fixture(scope="module")
def first(folder: Path) -> tuple[Path, str]:
    """The store and output of an undisturbed sweep; tests must not change it."""
    code, output = run(*options(folder, folder / "first"))
    assert code == 0, output
    return folder / "first", output


@pytest.fixture
def copy(first: tuple[Path, str], tmp_path: Path) -> Path:
    """The first sweep's store, moved to a place of the test's own."""
    return Path(shutil.copytree(first[0], tmp_path / "moved"))


def test_the_command_starts_without_what_few_stages_need() -> None:
    # each costs seconds at every start of a process
    dear = ("ray", "torchvision", "plotly", "pandas")
    program = f"import sys, orchestrator.sweep; print([m for m in {dear} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- a whole sweep ---------------------------------------------------------------------------------------------------


def test_a_sweep_computes_everything_and_writes_one_report(first: tuple[Path, str]) -> None:
    store, output = first
    assert len(Store(store).records()) == STAGES
    assert f"{STAGES} of {STAGES} stages finished" in output
    assert f"Report: {store / 'report.html'}" in output
    html = (store / "report.html").read_text()
    assert "patterns" in html
    assert "resnet1d" in html
    assert not list(store.rglob("checkpoint"))
    assert not stop_files(store)


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("pretrain", {"ticket.parquet", "metrics.parquet", "timing.parquet", "signs.parquet"}),
        ("round", {"ticket.parquet", "metrics.parquet", "timing.parquet", "signs.parquet"}),
        ("train", {"metrics.parquet", "timing.parquet", "signs.parquet"}),
        ("probe", {"probe.parquet", "barrier.parquet", "timing.parquet"}),
    ],
)
def test_every_kind_of_stage_leaves_its_parquet_files(first: tuple[Path, str], kind: str, files: set[str]) -> None:
    records = [record for record in Store(first[0]).records().values() if record.kind == kind]
    assert records
    for record in records:
        place = out(first[0], record.key)
        assert {path.name for path in place.glob("*.parquet")} == files
        assert all(pq.read_table(place / name).num_rows for name in files)
        assert {path.name for path in place.iterdir()} == set(record.files)


def test_a_ticket_table_holds_a_sign_for_every_weight(first: tuple[Path, str]) -> None:
    for name, record in by_name(first[0]).items():
        if record.kind in ("pretrain", "round"):
            rows = tables(first[0], record.key)["ticket.parquet"].to_pylist()
            signs = [sign for row in rows if row["role"] == "prunable" for sign in row["sign"]]
            assert set(signs) <= {-1, 0, 1}, name
            survivors = sum(sign != 0 for sign in signs) + sum(
                len(row["surviving_zeros"]) for row in rows if row["role"] == "prunable"
            )
            assert survivors / len(signs) == pytest.approx(record.results["density"])
            assert record.results["density"] == pytest.approx(0.8 ** (record.labels.round or 0), rel=0.01)


def test_the_test_set_is_read_once_at_the_end_under_the_sound_preset(first: tuple[Path, str]) -> None:
    for record in Store(first[0]).records().values():
        if "metrics.parquet" in record.files:
            splits = tables(first[0], record.key)["metrics.parquet"].column("split").to_pylist()
            assert splits.count("test") == (1 if record.kind == "train" else 0), record.name


def test_methods_start_a_chain_from_the_same_weights(first: tuple[Path, str]) -> None:
    pretrained = [record for record in Store(first[0]).records().values() if record.kind == "pretrain"]
    assert len({record.results["init_blake2b"] for record in pretrained}) == 1
    contents = {(out(first[0], record.key) / "init.safetensors").read_bytes() for record in pretrained}
    assert len(contents) == 1


def test_a_record_names_where_it_came_from(first: tuple[Path, str]) -> None:
    for record in Store(first[0]).records().values():
        assert record.provenance["device"].startswith("cpu")
        assert "--datasets" in record.provenance["argv"]
        assert record.provenance["packages"]["torch"]


# --- the same again --------------------------------------------------------------------------------------------------


def test_the_same_command_again_computes_nothing(folder: Path, copy: Path) -> None:
    before = record_times(copy)
    code, output = in_process(*options(folder, copy))
    assert code == 0
    assert f"Nothing to compute: {STAGES} of {STAGES} stages in {copy} are done." in output
    assert record_times(copy) == before


@pytest.mark.long
def test_another_seed_runs_new_stages_only(folder: Path, copy: Path) -> None:
    before, names = record_times(copy), by_name(copy)
    code, output = in_process(*options(folder, copy), "--seeds", 2)
    assert code == 0, output
    after = by_name(copy)
    assert {name: record.key for name, record in names.items()}.items() <= {n: r.key for n, r in after.items()}.items()
    assert before.items() <= record_times(copy).items()
    new = after.keys() - names.keys()
    assert all("seed2" in name for name in new)
    assert len(new) == 1 + 2 * 8  # a seed of each, and the pair of both retrains
    assert f"Resuming: {STAGES} of {STAGES + len(new)} stages in {copy} are done." in output


def test_from_scratch_and_without_ray_every_bit_is_the_same(folder: Path, first: tuple[Path, str]) -> None:
    code, output = run(*options(folder, folder / "second"), program=WITHOUT_RAY)
    assert code == 0, output
    assert Store(folder / "second").records().keys() == Store(first[0]).records().keys()
    assert_same_results(first[0], folder / "second")


def test_without_ray_the_ray_backend_is_refused_with_the_remedy(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "orchestrator.backends.ray.backend", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    code, output = in_process(*options(folder, tmp_path / "store", "--backend", "ray"))
    assert code == 2
    assert "--backend inline" in output
    assert not Store(tmp_path / "store").records()


def test_a_stage_run_alone_gives_the_bits_of_its_sweep(folder: Path, copy: Path, tmp_path: Path) -> None:
    record = by_name(copy)["patterns/resnet1d/aws/chain1/round02"]
    stage, alone = copy / Store(copy).folder(record.key) / "stage.json", tmp_path / "alone"
    places = ["--data-cache", folder / "cache", "--plugin", folder / "patterns.py"]
    code, output = run(stage, "--out", alone, *places, "--device", "cpu", program=("-m", "workers.run"))
    assert code == 0, output
    for name, table in tables(copy, record.key).items():
        assert pq.read_table(alone / name) == table
    weights = "weights.safetensors"
    assert (alone / weights).read_bytes() == (out(copy, record.key) / weights).read_bytes()


# --- interrupted and killed ------------------------------------------------------------------------------------------


def test_a_killed_sweep_resumes_and_ends_with_the_same_bits(
    folder: Path, first: tuple[Path, str], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    hold = Hold.at(tmp_path / "held", store, records=4)
    arguments = options(folder, store, "--checkpoint-interval", 0)
    process = start(*arguments, "--plugin", hold.plugin)
    try:
        wait_for(hold.is_held, process)
    finally:
        kill_all(process)
    before = record_times(store)
    assert len(before) == 4
    epochs = [int(path.name[:5]) for path in store.rglob("checkpoint/*.safetensors")]
    assert epochs
    assert not list(store.glob("stages/*/*/.record*"))
    hold.let_go()
    code, output = in_process(*arguments)
    assert code == 0, output
    at = r"(\S+) \(epoch ([0-9]+) of ([0-9]+)\)"
    resumed = re.search(rf"Resuming: 4 of {STAGES} stages in {store} are done; 1 stage continues .*: {at}\.", output)
    assert resumed, output
    assert int(resumed[2]) in {min(epoch + 1, int(resumed[3])) for epoch in epochs}
    assert before.items() <= record_times(store).items()
    assert [record.attempt for record in Store(store).records().values()].count(2) == 1
    assert len(Store(store).records()) == STAGES
    assert_same_results(first[0], store)


def test_control_c_stops_cleanly_and_the_same_command_finishes(
    folder: Path, first: tuple[Path, str], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    hold = Hold.at(tmp_path / "held", store, records=3)
    arguments = options(folder, store)
    process = start(*arguments, "--plugin", hold.plugin)
    try:
        wait_for(hold.is_held, process)
        control_c(process)
        wait_for(lambda: bool(stop_files(store)), process)
        hold.let_go()
        code, output = finish(process)
    finally:
        kill_all(process)
    assert code == 130, output
    assert "Stopping" in output
    assert "the same command goes on from here" in output
    assert "Traceback" not in output
    assert (store / "report.html").exists()
    assert not stop_files(store)
    before = record_times(store)
    assert len(before) == 3
    assert list(store.rglob("checkpoint/*.safetensors"))
    assert Store(store).failures() == []

    code, output = in_process(*arguments)
    assert code == 0, output
    assert before.items() <= record_times(store).items()
    assert_same_results(first[0], store)


def test_a_second_control_c_exits_at_once(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    hold = Hold.at(tmp_path / "held", store, records=1)
    process = start(*options(folder, store), "--plugin", hold.plugin)
    try:
        wait_for(hold.is_held, process)
        control_c(process)
        wait_for(lambda: bool(stop_files(store)), process)
        control_c(process)  # the stage is held: waiting for it would take for ever
        code, _ = finish(process)
    finally:
        kill_all(process)
    assert code == 130
    assert len(record_times(store)) == 1


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_diverging_stage_fails_the_sweep_with_its_name_and_its_log(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    diverging = ["--set", "optimizer.learning_rate=1e30", "--methods", "aws"]
    code, output = in_process(*options(folder, store, *diverging), report=True)
    assert code == 1
    first, last = Store(store).failures()
    assert (first.name, last.name) == ("patterns/resnet1d/aws/chain1/round00", "patterns/resnet1d/dense/seed1")
    assert "optimizer.learning_rate" in first.message
    summary, table = output.partition("First failure first")[::2]
    assert f"0 of {1 + 10} stages finished" in summary
    assert "2 failed" in summary
    rows = [line for line in table.splitlines() if line.startswith("patterns/")]
    assert [row.split()[0] for row in rows] == [first.name, last.name]
    assert "DivergedError: the training loss is " in rows[0]
    log = store / first.log
    assert f"Last lines of {log}:" in table
    assert log.read_text().splitlines()[-1] in table
    assert Store(store).records() == {}
    assert (store / "report.html").exists()
    places = ["--data-cache", folder / "cache", "--plugin", folder / "patterns.py", "--device", "cpu"]
    alone = [log.parents[2] / "stage.json", "--out", tmp_path / "alone", *places]
    code, output = run(*alone, program=("-m", "workers.run"))
    assert code == 1
    assert f"Error: {first.name}: the training loss is " in output
    assert "Traceback" not in output


# --- the plan --------------------------------------------------------------------------------------------------------


def test_a_plan_touches_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store, cache = tmp_path / "store", tmp_path / "cache"
    code, output = in_process(*options(folder, store, "--data-cache", cache), "--plan")
    assert code == 0
    (last,) = (line.split() for line in output.splitlines() if line.startswith("all "))
    assert last[1:4] == [str(STAGES), "0", str(STAGES)]
    assert "patterns/resnet1d; a sweep's first stages measure the durations" in output
    assert list(tmp_path.iterdir()) == []


def test_a_plan_as_json_says_what_is_cached(folder: Path, first: tuple[Path, str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in first[0].rglob("*")}
    code, output = in_process(*options(folder, first[0]), "--seeds", 2, "--plan", "--json")
    assert code == 0
    plan = json.loads(output)
    cached = {stage["key"] for stage in plan["stages"] if stage["cached"]}
    assert cached == Store(first[0]).records().keys()
    assert len(plan["stages"]) == STAGES + 17
    assert plan["kinds"]["train dense"] == {"stages": 2, "cached": 1}
    foreseen = plan["forecast"]
    assert (foreseen["estimated_stages"], foreseen["devices"], foreseen["unmeasured"]) == (17, 1, [])
    assert foreseen["makespan_s"] == pytest.approx(3600 * foreseen["device_hours"])  # inline: one after the other
    assert foreseen["cost_usd"] is None
    assert [study["device_hours"] for study in foreseen["studies"]] == [pytest.approx(foreseen["device_hours"])]
    assert plan["chains_needed"] == []  # one chain was judged at no look
    assert sum(kind["stages"] for kind in plan["kinds"].values()) == len(plan["stages"])
    keys = {stage["key"] for stage in plan["stages"]}
    assert all(set(stage["inputs"].values()) <= keys for stage in plan["stages"])
    assert {path: path.stat().st_mtime_ns for path in first[0].rglob("*")} == before


def test_a_plan_predicts_device_hours_makespan_and_cost(folder: Path, first: tuple[Path, str]) -> None:
    code, output = in_process(*options(folder, first[0]), "--seeds", 2, "--plan", "--devices", 3, "--price", 100)
    assert code == 0
    assert "core-hours left" in output
    assert output.count("USD") == 2  # of the device-hours, and of devices held to the end
    assert "on 3 of these" in output


# --- what cannot be run ----------------------------------------------------------------------------------------------


def test_images_that_cannot_be_read_are_named_before_any_stage_is_run(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "cifar10").mkdir(parents=True)
    for split in ("train", "test"):
        (tmp_path / "data" / "cifar10" / f"{split}.parquet").write_bytes(b"PAR1 is not enough")
    places = ["--data-root", tmp_path / "data", "--data-cache", tmp_path / "cache"]
    code, output = in_process(*options(folder, tmp_path / "store", *places, "--datasets", "cifar10"))
    assert code == 2
    assert "train.parquet is no readable Parquet file" in output
    assert not (tmp_path / "store" / "stages").exists()
    assert not list((tmp_path / "cache").glob("cifar10*/meta.json"))


def test_cifar_that_can_be_neither_found_nor_downloaded_names_both_layouts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing leaves this machine
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "data").mkdir()
    places = ["--data-root", tmp_path / "data", "--data-cache", tmp_path / "cache"]
    code, output = in_process(*options(folder, tmp_path / "store", *places, "--datasets", "cifar10"))
    assert code == 2, output
    assert "Traceback" not in output
    (said,) = (line for line in output.splitlines() if line.startswith("Error: "))
    assert "cifar-10-batches-py/ or cifar10/train*.parquet and cifar10/test*.parquet" in said
    assert not (tmp_path / "store" / "stages").exists()
    assert list((tmp_path / "data").iterdir()) == []
