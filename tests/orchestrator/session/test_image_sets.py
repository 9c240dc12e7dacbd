"""Whole sweeps on folders in the original layouts: Tiny-ImageNet, decoded once, and ImageNet, streamed. Slow."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

import analysis
from tests.support.image_sets import REAL_TINY_IMAGENET, write_imagenet, write_tiny_imagenet
from tests.support.sweep_processes import WITHOUT_REPORT, assert_same_results, in_process, run

pytestmark = pytest.mark.slow(seconds=30)

SMALL = """
model: {width: 4}
batch_size: 16
pretrain_epochs: 1
round_epochs: 1
final_epochs: 2
rounds: 1
bn_images: 48
probe_points: 3
probe_rounds: [1]
transfer_rounds: [1]
methods: [aws]
transfers: [signed]
seeds: 1
"""
WNIDS = ("n01440764", "n01443537", "n02094433", "n02410509")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    write_imagenet(folder, wnids=WNIDS, train=15, val=5)
    if REAL_TINY_IMAGENET.is_dir():
        (folder / "tiny-imagenet-200").symlink_to(REAL_TINY_IMAGENET)
    else:
        write_tiny_imagenet(folder)
    (folder / "small.yaml").write_text(SMALL)
    return folder


def options(root: Path, store: Path, dataset: str, *more: object) -> list[object]:
    places = ["--store", store, "--data-root", root, "--data-cache", root / "cache", "--recipe", root / "small.yaml"]
    return ["--datasets", dataset, "--archs", "resnet20", "--backend", "inline", "--device", "cpu", *places, *more]


@pytest.mark.long
@pytest.mark.parametrize("preset", ["sound", "reference"])
def test_tiny_imagenet_from_its_folders_to_the_report(root: Path, tmp_path: Path, preset: str) -> None:
    code, output = in_process(*options(root, tmp_path, "tiny-imagenet", "--preset", preset), report=True)
    assert code == 0, output
    frames = analysis.frames.load(tmp_path)
    assert set(frames.stages["preset"]) == {preset}
    assert len(frames.probes)
    assert (tmp_path / "report.html").exists()


def test_imagenet_streams_and_the_number_of_loaders_changes_nothing(root: Path, tmp_path: Path) -> None:
    streamed = ["--set", "image_size=32", "--set", "validation_fraction=0.1"]
    # loaders in a process of its own: torch raises in the main thread of one that loaded before when a loader dies
    for loaders, sweep in ((0, in_process), (2, partial(run, program=WITHOUT_REPORT))):
        more = [*streamed, "--loader-workers", loaders]
        code, output = sweep(*options(root, tmp_path / str(loaders), "imagenet", *more))
        assert code == 0, output
    assert_same_results(tmp_path / "0", tmp_path / "2")


def test_a_damaged_image_fails_the_stage_that_met_it_and_names_the_file(tmp_path: Path) -> None:
    write_imagenet(tmp_path, wnids=WNIDS, train=5, val=1, damaged=True)
    (tmp_path / "small.yaml").write_text(SMALL)
    code, output = in_process(*options(tmp_path, tmp_path / "store", "imagenet", "--set", "image_size=32"))
    assert code == 1
    assert f"{WNIDS[-1]}_00004.JPEG" in output.replace("\n", "").replace(" ", "")
