"""Finished stages run again: the same bits give a badge; anything else is found and stated."""

from __future__ import annotations

import json
import os
import re
import shutil
from itertools import count
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from orchestrator import gc, verify
from orchestrator.session.rerun import again
from orchestrator.session.rerun.differences import differences
from orchestrator.session.rerun.sample import draw
from orchestrator.store import Store
from orchestrator.store.record import Record
from tests.orchestrator.store.stores import invoke, planned_stage
from tests.support import small_sweeps
from tests.support.sweep_processes import by_name, in_process
from workers.attempts.workspace import artifact
from workers.data import DATA_SETS
from workers.storage import artifacts

pytestmark = pytest.mark.slow(seconds=40)

HERE = ("--backend", "inline", "--device", "cpu")
FIELDS = {**small_sweeps.ONE_ROUND, "probes": ["weight_distance"], "landscapes": [["retrain", "signed", "mask"]]}
OUTPUT = ("rerun.json", "same-bits.svg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rerun")
    fields = {**FIELDS, "transfers": ["signed", "mask"], "landscape_points": 3}
    return small_sweeps.prepare(folder, **fields)


@pytest.fixture(scope="module")
def first(folder: Path) -> Path:
    """The store of a finished sweep; tests must not change it."""
    code, output = in_process(*small_sweeps.options(folder, folder / "first"), *HERE)
    assert code == 0, output
    return folder / "first"


@pytest.fixture
def copy(first: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "store"))


def rerun(folder: Path, store: object, number: int, *more: object) -> tuple[int, str]:
    """Run ``number`` stages again; return the exit code and the output."""
    data = ("--plugin", folder / "patterns.py", "--data-cache", folder / "cache", "--device", "cpu")
    code, output = invoke(verify.app, store, "--rerun", number, *data, *more)
    return int(code), str(output)


def test_a_record_that_rotted_without_a_new_date_is_found(copy: Path, folder: Path) -> None:
    path = next(copy.glob("stages/train/*/record.json"))
    times = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"seconds":', b'"secouds":', 1))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    code, output = rerun(folder, copy, 1, "--seed", 1)
    assert (code, "Nothing was run again: mend the store first" in output) == (1, True), output


def rerun_only(folder: Path, store: Path, record: Record, *more: object) -> tuple[int, str]:
    """Run this one stage again, by the first seed that draws it."""
    drawn = ((seed, draw(Store(store), 1, seed).stages[0][0].key) for seed in count())
    seed = next(seed for seed, key in drawn if key == record.key)
    return rerun(folder, store, 1, "--seed", seed, *more)


def statement(folder: Path) -> Any:
    return json.loads((folder / "rerun.json").read_text())


def named(store: Path, end: str) -> Record:
    """The record whose name ends so."""
    return next(record for name, record in by_name(store).items() if name.endswith(end))


def rewrite(store: Path, record: Record, **fields: Any) -> None:
    """Replace fields of a record, with its digest: the store is consistent."""
    opened = Store(store)
    place = store / opened.folder(record.key) / "record.json"
    place.write_text(record.model_copy(update=fields).sealed().model_dump_json(indent=1))
    (store / "index.jsonl").unlink(missing_ok=True)


def files_of(folder: Path) -> dict[str, Any]:
    return {path.name: artifact(path) for path in sorted(folder.iterdir())}


def commit_other_outputs(store: Path, record: Record, other: Record) -> None:
    """Put another stage's files and results under a stage's key, as if its training had gone so."""
    out, source = (store / Store(store).out(each.key) for each in (record, other))
    for path in source.iterdir():
        shutil.copyfile(path, out / path.name)
    rewrite(store, record, files=files_of(out), results=other.results)


# --- the same bits ---------------------------------------------------------------------------------------------------


def test_stages_of_every_kind_have_the_same_bits_and_the_store_only_gets_a_badge(copy: Path, folder: Path) -> None:
    records = Store(copy).records()
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    code, output = rerun(folder, copy, len(records), "--seed", 7)
    assert code == 0, output
    kinds = {"pretrain", "round", "train", "probe", "pair_probe", "landscape"}
    assert {record.kind for record in records.values()} == kinds
    assert output.count("same bits: ") == len(records)
    assert f"Running {len(records)} of {len(records)} stages again, drawn with --seed 7: " in output
    assert re.search(r"They took [0-9.]+ (s|min) when recorded", output)
    assert "timing.parquet is not compared" in output
    after = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert {path.name for path in after.keys() - before.keys()} == set(OUTPUT)
    assert {path: after[path] for path in before} == before
    made = statement(copy)
    assert (made["outcome"], made["run_again"], made["finished_stages"]) == ("same bits", len(records), len(records))
    assert {stage["key"] for stage in made["stages"]} == records.keys()
    svg = ElementTree.fromstring((copy / "same-bits.svg").read_text())
    words = " ".join(" ".join(svg.itertext()).split())
    assert "same bits on" in words
    assert f"{len(records)} of {len(records)} stages" in words
    assert made["machines"][0] in words
    assert invoke(verify.app, copy)[0] == 0  # a badge is no fault


def test_a_seed_draws_the_same_stages_and_facts_name_no_host(copy: Path, folder: Path, tmp_path: Path) -> None:
    chosen = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        code, output = rerun(folder, copy, 2, "--seed", 3, "--badge", tmp_path / name, "--check-only")
        assert code == 0, output
        chosen.append([stage["key"] for stage in statement(tmp_path / name)["stages"]])
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 2
    assert not (copy / "rerun.json").exists()
    text = "".join((tmp_path / "one" / name).read_text() for name in OUTPUT)
    host = str(named(copy, "/dense/seed1").provenance["host"])
    assert f'"{host}"' not in text
    assert str(tmp_path) not in text


def test_other_bytes_of_the_same_numbers_are_the_same_bits(copy: Path, folder: Path) -> None:
    record = named(copy, "/dense/seed1")
    metrics = copy / Store(copy).out(record.key) / "metrics.parquet"
    pq.write_table(pq.read_table(metrics), metrics, compression="zstd")  # as another version of pyarrow might
    changed = artifact(metrics)
    assert changed != record.files["metrics.parquet"]
    rewrite(copy, record, files={**record.files, "metrics.parquet": changed})
    code, output = rerun_only(folder, copy, record)
    assert code == 0, output
    assert statement(copy)["outcome"] == "same bits"


def test_the_copy_of_a_ticket_from_elsewhere_earns_no_badge(first: Path, folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    given = ("--tickets", first, "--transfers", "signed", "--set", "landscapes=[]", "--set", "probes=[]")
    code, output = in_process(*small_sweeps.options(folder, store, *given), *HERE)
    assert code == 0, output
    records = Store(store).records()
    computed = {key for key, record in records.items() if record.kind != "imported"}
    assert len(computed) == len(records) - 1
    code, output = rerun(folder, store, len(records))
    assert code == 2
    assert f"; 1: a ticket from elsewhere, which is copied and not computed; give --rerun {len(computed)}" in output
    assert not (store / "same-bits.svg").exists()
    assert rerun_only(folder, store, named(store, "/signed/seed1"))[0] == 0  # which reads it


def test_stages_of_a_bucket_are_run_again_from_downloads(s3: str, first: Path, folder: Path) -> None:
    storage = Store(f"{s3}/rerun").storage
    for path in first.rglob("*"):
        if path.is_file() and path.relative_to(first).parts[0] in ("stages", "plans"):
            storage.write(path.relative_to(first).as_posix(), path.read_bytes())
    code, output = rerun(folder, f"{s3}/rerun", 4)
    assert code == 0, output
    assert json.loads(storage.read("rerun.json"))["outcome"] == "same bits"
    assert storage.read("same-bits.svg").startswith(b"<svg")


# --- other bits ------------------------------------------------------------------------------------------------------


def test_another_seeds_training_under_the_key_is_found_and_takes_the_badge_away(
    copy: Path, folder: Path, tmp_path: Path
) -> None:
    number = len(Store(copy).records())
    assert rerun_only(folder, copy, named(copy, "/dense/seed1"))[0] == 0
    assert (copy / "same-bits.svg").exists()
    record = named(copy, "/signed/seed1")
    commit_other_outputs(copy, record, named(copy, "/signed/seed1/twin"))
    assert invoke(verify.app, copy)[0] == 0  # all files are what their records say
    (tmp_path / "scratch").mkdir()
    code, output = rerun(folder, copy, number, "--scratch", tmp_path / "scratch")
    assert code == 1
    assert f"OTHER BITS: {record.name} (" in output
    assert re.search(r"weights\.safetensors: [0-9,]+ values differ, by at most [0-9.e+-]+, [0-9.e+-]+ relative", output)
    assert "Not the same bits on " in output
    assert not (copy / "same-bits.svg").exists()
    assert statement(copy)["outcome"] == "failed"
    same = [stage for stage in statement(copy)["stages"] if stage["name"].endswith("/retrain/seed1")]
    assert same[0]["differences"] == []
    kept = list((tmp_path / "scratch").rglob("weights.safetensors"))
    assert len(kept) == 1  # the differing training's; probes of it write no weights
    assert artifact(kept[0]) != named(copy, "/signed/seed1").files["weights.safetensors"]


def test_one_flipped_bit_under_an_intact_record_is_found(copy: Path, folder: Path) -> None:
    record = named(copy, "/dense/seed1")
    weights = copy / Store(copy).out(record.key) / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-4] ^= 1  # the last bit of the last tensor's last weight
    weights.write_bytes(content)
    rewrite(copy, record, files={**record.files, "weights.safetensors": artifact(weights)})
    assert rerun_only(folder, copy, named(copy, "/retrain/seed1"))[0] == 0  # the others are as they were
    code, output = rerun_only(folder, copy, record)
    assert code == 1
    assert "weights.safetensors: 1 values differ, by at most " in output
    assert statement(copy)["outcome"] == "failed"


def test_on_another_kind_of_machine_differences_are_stated_and_are_no_failure(copy: Path, folder: Path) -> None:
    record = named(copy, "/signed/seed1")
    rewrite(copy, record, provenance={**record.provenance, "processor": "Another CPU, AVX512"})
    code, output = rerun_only(folder, copy, record)
    assert code == 0, output
    assert statement(copy)["outcome"] == "same bits"  # another kind of machine, and yet
    commit_other_outputs(copy, named(copy, "/signed/seed1"), named(copy, "/signed/seed1/twin"))
    code, output = rerun_only(folder, copy, record)
    assert code == 0, output
    assert f"other bits, on another kind of machine: {record.name} (" in output
    sentence = output[output.index("Other bits on ") :]
    assert "than on Another CPU, AVX512, torch " in sentence
    assert re.search(r"weights by at most [0-9.e+-]+, [0-9.e+-]+ relative", sentence)
    assert re.search(r"accuracies, errors and barriers by at most [0-9.e+-]+ points", sentence)
    assert not (copy / "same-bits.svg").exists()


def test_a_stage_that_cannot_run_is_a_failure(copy: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no\nluck in /home/ada/data/x.bin")

    monkeypatch.setattr(again, "run_stage", broken)
    code, output = rerun(folder, copy, 1)
    assert code == 1
    assert "could not be run again (RuntimeError: no luck in /home/ada/data/x.bin): " in output
    assert statement(copy)["stages"][0]["error"] == "RuntimeError: no luck in …/x.bin"  # others may read it
    assert not (copy / "same-bits.svg").exists()


def test_a_broken_store_is_mended_first(copy: Path, folder: Path) -> None:
    weights = copy / Store(copy).out(named(copy, "/dense/seed1").key) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    code, output = rerun(folder, copy, 1)
    assert code == 1
    assert "Nothing was run again" in output
    assert not (copy / "rerun.json").exists()


# --- what can be run -------------------------------------------------------------------------------------------------


def test_stages_whose_inputs_gc_removed_are_passed_over(copy: Path, folder: Path) -> None:
    assert invoke(gc.app, copy, "--delete")[0] == 0
    code, output = rerun(folder, copy, 2)  # round 0 and the dense training have no inputs
    assert code == 0, output
    assert {stage["kind"] for stage in statement(copy)["stages"]} == {"pretrain", "train"}
    before = (copy / "rerun.json").read_bytes()
    code, output = rerun(folder, copy, 3)
    assert code == 2
    assert "--rerun 3: 2 of the store's " in output
    assert "an input's files were removed by gc; give --rerun 2" in output
    assert (copy / "rerun.json").read_bytes() == before


def test_a_stage_of_another_version_or_without_deterministic_kernels_is_passed_over(copy: Path, folder: Path) -> None:
    records = Store(copy).records()
    rewrite(copy, named(copy, "/dense/seed1"), provenance={"deterministic": False})
    changed = named(copy, "/chain1/round00")
    rewrite(copy, changed, science={**changed.science, "init_seed": changed.science["init_seed"] + 1})
    code, output = rerun(folder, copy, len(records))
    assert code == 2
    assert f"--rerun {len(records)}: {len(records) - 2} of the store's {len(records)} finished stages" in output
    assert "1: its record says that not all its kernels were deterministic" in output
    assert "1: another version of this software computed it" in output


def test_stages_of_an_unknown_data_set_are_passed_over(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(DATA_SETS, "patterns")
    monkeypatch.setattr(verify, "check", lambda *_: pytest.fail("it hashes the store"))
    number = len(Store(first).records())
    code, output = invoke(verify.app, first, "--rerun", 1)  # without --plugin
    assert code == 2
    assert f"; {number}: its data set or architecture is unknown here; name its --plugin" in output
    assert len(output.splitlines()) == 1
    assert not (first / "rerun.json").exists()


# --- how differences are measured ------------------------------------------------------------------------------------


def weights(folder: Path, **tensors: torch.Tensor) -> Path:
    folder.mkdir()
    artifacts.save_weights(folder / "weights.safetensors", tensors)
    return folder


def test_differences_are_the_largest_absolute_and_relative_ones(tmp_path: Path) -> None:
    half = torch.tensor([1.0, 2.0], dtype=torch.bfloat16)
    a = weights(tmp_path / "a", x=torch.tensor([2.0, 0.0, 8.0]), y=half)
    b = weights(tmp_path / "b", x=torch.tensor([2.5, 1.0, 8.0]), y=half * 2)
    record = named_record(files_of(a), {"test_accuracy_percent": 50.0, "same_mask": True})
    found = differences(
        record, {"test_accuracy_percent": np.float64(48.5), "same_mask": True}, lambda name: a / name, b
    )
    assert [(each.file, each.values, each.largest, each.largest_relative, each.unit) for each in found] == [
        ("weights.safetensors", 4, 2.0, 1.0, ""),
        ("results", 1, 1.5, 0.03, "points"),
    ]
    [gone, _] = differences(record, {"test_accuracy_percent": 1.0, "same_mask": True}, lambda name: None, b)
    assert "gc removed the stored file" in str(gone)
    [missing, result] = differences(record, {"same_mask": False, "test_accuracy_percent": 50.0}, lambda _: a, tmp_path)
    assert "not written again" in str(missing)
    assert str(result) == "results same_mask: False instead of True"


def named_record(files: dict[str, Any], results: dict[str, Any]) -> Record:
    stage = planned_stage("patterns/dense/seed1")
    return Record(
        **stage.model_dump(include={"key", "kind", "name", "labels", "science", "inputs"}),
        attempt=1,
        files=files,
        results=results,
        seconds=1.0,
        finished_unix_s=1.0,
        provenance={},
    )
