"""What is read of a data set is said in one line, in the plan and at a sweep's start."""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.terminal.data_lines import data_line
from tests.support import small_sweeps
from tests.support.image_sets import write_image_folder
from tests.support.sweep_processes import in_process
from workers.data import SplitSummary


def test_a_line_counts_images_classes_and_files_left_out() -> None:
    splits = {"train": SplitSummary(50_000, 10, 0, 9), "test": SplitSummary(12, 3, 0, 9)}
    assert data_line("cifar10", splits, {".gif": 3, ".avif": 2}) == (
        "cifar10: train 50,000 images of classes 0 to 9, test 12 images of classes 0 to 9 (3 of these occur); "
        "5 other files are left out (.avif 2, .gif 3)"
    )


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
    assert data["splits"]["train"] == {"images": 12, "classes": 2, "lowest": 0, "highest": 1}
    assert data["left_out_files"] == {".gif": 1}


def test_a_sweep_starts_with_what_only_decoding_tells(tmp_path: Path) -> None:
    folder = small_sweeps.prepare(tmp_path / "sweep", **small_sweeps.ONE_ROUND)
    words = small_sweeps.options(folder, tmp_path / "store", "--backend", "inline", "--device", "cpu")
    code, output = in_process(*words, "--plan")
    assert "patterns: counted when it is prepared" in output
    code, output = in_process(*words)
    assert code == 0, output
    assert "patterns: train 200 images of classes 0 to 2, test 60 images of classes 0 to 2" in output
