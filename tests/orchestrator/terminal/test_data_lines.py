"""What is read of a data set is said in one line, in the plan and at a sweep's start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.store import Store
from orchestrator.terminal.data_lines import data_line
from tests.orchestrator.store.stores import SmallStore, planned_stage
from tests.support import small_sweeps
from tests.support.image_sets import write_image_folder
from tests.support.sweep_processes import in_process
from workers.data import SplitSummary, fingerprint
from workers.data.fingerprints import content


def test_a_line_counts_images_classes_and_files_left_out() -> None:
    splits = {"train": SplitSummary(50_000, 10, 0, 9, 5_000, 5_000), "test": SplitSummary(12, 3, 0, 9, 1, 8)}
    assert data_line("cifar10", splits, {".gif": 3, ".avif": 2}) == (
        "cifar10: train 50,000 images of classes 0 to 9, test 12 images of classes 0 to 9 (3 of these occur); "
        "5 other files are left out (.avif 2, .gif 3)"
    )
    assert data_line("cifar10", {}, {}, side=16).endswith("; images averaged to 16x16 pixels")


def test_a_plan_shows_what_lies_in_the_folders_and_what_is_ignored(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "insects")
    (folder / "train" / "ants" / "moving.gif").touch()
    words = ["--datasets", "imagefolder:insects", "--data-root", tmp_path, "--store", tmp_path / "store", "--plan"]
    code, output = in_process(*words, "--data-cache", tmp_path / "cache", "--archs", "resnet20")
    assert code == 0, output
    line = "imagefolder:insects: train 12 images of classes 0 to 1, test 6 images of classes 0 to 1; 1 other file is"
    assert line in output
    code, output = in_process(*words, "--data-cache", tmp_path / "cache", "--archs", "resnet20", "--json")
    [data] = json.loads(output[output.index("{") :])["data"]
    per_class = {"fewest_per_class": 6, "most_per_class": 6}
    assert data["splits"]["train"] == {"images": 12, "classes": 2, "lowest": 0, "highest": 1, **per_class}
    assert (data["left_out_files"], data["changed"]) == ({".gif": 1}, None)


def test_a_sweep_starts_with_what_only_decoding_tells(tmp_path: Path) -> None:
    folder = small_sweeps.prepare(tmp_path / "sweep", **small_sweeps.ONE_ROUND)
    words = small_sweeps.options(folder, tmp_path / "store", "--backend", "inline", "--device", "cpu")
    code, output = in_process(*words, "--plan")
    assert "patterns: counted when it is prepared" in output
    code, output = in_process(*words)
    assert code == 0, output
    assert "patterns: train 200 images of classes 0 to 2, test 60 images of classes 0 to 2" in output
    for record in Store(tmp_path / "store").records().values():
        held = record.provenance["data"]
        assert {split: counts["images"] for split, counts in held["splits"].items()} == {"train": 200, "test": 60}
        assert 0 < held["splits"]["train"]["fewest_per_class"] <= 66 < held["splits"]["train"]["most_per_class"]
        assert (held["validation_images"], held["left_out_files"], held["fingerprint_covers"]) == (20, {}, None)


def test_a_plan_hashes_every_byte_of_large_folders_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "WHOLE_BYTES", 0)
    write_image_folder(tmp_path / "insects")
    where = ["--data-root", tmp_path, "--store", tmp_path / "store", "--data-cache", tmp_path / "cache"]
    words = ["--datasets", "imagefolder:insects", "--archs", "resnet20", *where, "--plan", "--json"]
    for more, kind in (([], "ends-"), (["--hash-all-data"], "content-")):
        code, output = in_process(*words, *more)
        assert code == 0, output
        [data] = json.loads(output[output.index("{") :])["data"]
        assert data["fingerprint"].startswith(kind)


def test_a_plan_says_why_stages_on_other_data_are_computed_anew(tmp_path: Path) -> None:
    name, folder, cache = "imagefolder:insects", write_image_folder(tmp_path / "insects"), tmp_path / "cache"
    stage = planned_stage("dense")
    data = {"name": name, "fingerprint": fingerprint(name, tmp_path, cache)}
    stage = stage.model_copy(update={"science": {**stage.science, "setting": {"data": data}}})
    SmallStore(tmp_path / "store").commit(stage)
    (folder / "train" / "ants" / "0.JPG").unlink()
    words = ["--datasets", name, "--data-root", tmp_path, "--store", tmp_path / "store", "--data-cache", cache]
    code, output = in_process(*words, "--archs", "resnet20", "--plan")
    assert code == 0, output
    assert f"{name} changed since" in output
    assert "1 file is gone (train/ants/0.JPG); its stages are computed anew." in output
    code, in_json = in_process(*words, "--archs", "resnet20", "--plan", "--json")
    [read] = json.loads(in_json[in_json.index("{") :])["data"]
    assert read["changed"] in output
