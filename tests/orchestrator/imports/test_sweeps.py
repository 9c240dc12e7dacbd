"""Sweeps from tickets from elsewhere, as users run them."""

from __future__ import annotations

import shutil
from pathlib import Path
from uuid import uuid4

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

import tickets
from analysis import load
from orchestrator import verify, why
from orchestrator.gc import list_garbage
from orchestrator.operating.garbage import Category
from orchestrator.operating.survey import survey
from orchestrator.operating.verification import check
from orchestrator.sinks.run import read_run
from orchestrator.store import Store
from tests.orchestrator.store.stores import invoke
from tests.orchestrator.store.test_merging import merge
from tests.support import small_sweeps
from tests.support.images import REAL_CIFAR10
from tests.support.small_sweeps import ONE_ROUND
from tests.support.sweep_processes import in_process
from tickets import Provenance
from workers.models import build_model
from workers.stages import Model
from workers.storage import open_storage

HERE = ("--backend", "inline", "--device", "cpu")
pytestmark = pytest.mark.slow(seconds=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe and data, and the finished store of a sweep with one chain of one round."""
    folder = small_sweeps.prepare(tmp_path_factory.mktemp("imports"), **{**ONE_ROUND, "twins": ["signed"]})
    code, output = in_process(
        *small_sweeps.options(folder, folder / "theirs"), "--backend", "inline", "--device", "cpu"
    )
    assert code == 0, output
    return folder


def sweep(folder: Path, store: Path, *sources: object) -> str:
    """Sweep from tickets; return what it prints."""
    given = ["--tickets", ",".join(map(str, sources))]
    code, output = in_process(*small_sweeps.options(folder, store, *given), *HERE)
    assert code == 0, output
    return output


def accuracies(store: Path) -> pd.Series:
    stages = load(store, tickets=False).stages
    trained = stages[(stages["kind"] == "train") & ~stages["twin"]]
    return trained.set_index(["method", "transfer"])["test_accuracy_percent"]


def test_another_stores_ticket_gives_the_same_bits_as_there(folder: Path, tmp_path: Path) -> None:
    output = sweep(folder, tmp_path / "store", folder / "theirs")
    assert "tickets from elsewhere aws@theirs:patterns: chains 1, rounds 1." in output
    theirs, ours = accuracies(folder / "theirs"), accuracies(tmp_path / "store")
    for start in ("retrain", "signed"):
        assert ours["aws@theirs:patterns", start] == theirs["aws", start]
    kinds = load(tmp_path / "store", tickets=False).stages["kind"].value_counts()
    assert dict(kinds) == {"train": 4, "probe": 2, "imported": 1}  # no chain: dense, retrain, signed and its twin


def test_a_store_with_copies_needs_no_source_and_tells_whole_ones_from_damaged(folder: Path, tmp_path: Path) -> None:
    source = shutil.copytree(folder / "theirs", tmp_path / "lent")
    sweep(folder, tmp_path / "store", source)
    moved = (tmp_path / "store").rename(tmp_path / "moved")
    source.rename(tmp_path / "away")
    assert "Nothing to compute" in sweep(folder, moved, source)
    assert not check(Store(moved), lambda done, total: None).faults
    # its weights can never be computed again, so gc leaves them
    listed = list_garbage(Store(moved), survey(Store(moved)), keep_weights=False, superseded=False)
    weights = [file.path for file in listed if file.category is Category.WEIGHTS]
    assert weights
    assert not [path for path in weights if "/imported/" in path]
    [copy] = moved.glob("stages/imported/*/attempts/1/out/ticket.parquet")
    copy.write_bytes(copy.read_bytes()[:-10])
    (tmp_path / "away").rename(source)
    assert "copied" in sweep(folder, moved, source)
    assert not check(Store(moved), lambda done, total: None).faults


def test_a_stores_tickets_in_a_bucket_are_those_of_a_folder_and_copied_for_when_it_is_gone(
    folder: Path, tmp_path: Path, s3: str
) -> None:
    url = f"{s3}/{uuid4()}"
    bucket = open_storage(url)
    for path in (folder / "theirs").rglob("*"):
        if path.is_file():
            bucket.upload(path, path.relative_to(folder / "theirs").as_posix())
    source = f"lent={url}:aws/chain1/round01"
    assert "copied" in sweep(folder, tmp_path / "store", source)
    theirs, ours = accuracies(folder / "theirs"), accuracies(tmp_path / "store")
    for start in ("retrain", "signed"):
        assert ours["aws@lent:patterns", start] == theirs["aws", start]
    [file] = [name for name in bucket.listing("stages/round") if name.endswith("/ticket.parquet")]
    for place in (f"{url}/{file}", f"{url}/{file}".removesuffix("/ticket.parquet"), f"{s3}/{uuid4()}"):
        code, output = in_process(*small_sweeps.options(folder, tmp_path / "none", "--tickets", place), *HERE)
        assert code == 2
        assert f"--tickets {place}: there is no store; of a bucket, only the tickets of a store are read" in output
    assert not (tmp_path / "none").exists()
    bucket.remove([*bucket.listing()])
    assert "Nothing to compute" in sweep(folder, tmp_path / "store", source)
    code, output = in_process(*small_sweeps.options(folder, tmp_path / "none", "--tickets", "s3://none/theirs"), *HERE)
    assert (code, "s3://none/theirs: there is no such bucket" in output) == (2, True)


def test_commands_tell_where_a_copy_came_from(folder: Path, tmp_path: Path) -> None:
    sweep(folder, tmp_path / "store", f"lent={folder / 'theirs'}")
    [copy] = [each for each in Store(tmp_path / "store").records().values() if each.kind == "imported"]
    place = f"patterns/resnet1d/aws/chain1/round01 of {folder / 'theirs'}"
    run = read_run(copy, {}, "link")
    assert (run.job, run.group, run.results) == ("imported", "aws@lent:patterns/chain1/round01", copy.results)
    assert (run.parameters["ticket.place"], run.parameters["ticket.method"]) == (place, "aws")
    code, output = invoke(why.app, tmp_path / "store", "imported")
    assert (code, f"Copied from {place} by attempt 1, " in output) == (0, True)
    assert "First run" not in output
    [file] = (tmp_path / "store").glob("stages/imported/*/attempts/1/out/ticket.parquet")
    file.write_bytes(file.read_bytes()[:-10])
    code, output = invoke(verify.app, tmp_path / "store")
    assert (code, "ticket.parquet" in output) == (1, True)
    code, output = invoke(why.app, tmp_path / "store", "imported")
    assert (code, "repeat the sweep's command to copy it from its source again" in output) == (0, True)


def test_stores_that_named_one_ticket_differently_are_merged_by_verify(folder: Path, tmp_path: Path) -> None:
    for name in ("mine", "theirs"):
        sweep(folder, tmp_path / name, f"{name}={folder / 'theirs'}")
    before = accuracies(tmp_path / "mine")
    merge(tmp_path)
    code, output = invoke(verify.app, tmp_path / "mine")
    assert (code, "has the same key as stages/imported/" in output) == (1, True)
    assert invoke(verify.app, tmp_path / "mine", "--check-only")[0] == 0
    assert accuracies(tmp_path / "mine").to_dict() == before.to_dict()
    for name in ("mine", "theirs"):
        assert "Nothing to compute" in sweep(folder, tmp_path / "mine", f"{name}={folder / 'theirs'}")
    listed = list_garbage(
        Store(tmp_path / "mine"), survey(Store(tmp_path / "mine")), keep_weights=False, superseded=True
    )
    kept = [file.path for file in listed if "/imported/" in file.path and file.category is not Category.SET_ASIDE]
    assert kept == []


def test_two_copies_of_a_ticket_are_one_stage_and_a_ticket_without_weights_leaves_the_retrain_out(
    folder: Path, tmp_path: Path
) -> None:
    [out] = (folder / "theirs").glob("stages/round/*/attempts/1/out")
    (tmp_path / "a").mkdir()
    shutil.copy(out / "ticket.parquet", tmp_path / "a" / "found.parquet")
    output = sweep(folder, tmp_path / "store", tmp_path / "a" / "found.parquet")
    assert "left out without trained weights: retrain and its pairs" in output
    stages = load(tmp_path / "store", tickets=False).stages
    assert set(stages["transfer"].dropna()) == {"dense", "signed"}
    assert set(stages["probe"].dropna()) == {"stability"}
    assert (
        accuracies(tmp_path / "store")["aws@found:patterns", "signed"] == accuracies(folder / "theirs")["aws", "signed"]
    )
    copied = shutil.copy(tmp_path / "a" / "found.parquet", tmp_path / "elsewhere.parquet")
    assert "Nothing to compute" in sweep(folder, tmp_path / "store", copied)


def test_a_folder_of_tickets_with_their_weights_is_read_whole(folder: Path, tmp_path: Path) -> None:
    [out] = (folder / "theirs").glob("stages/round/*/attempts/1/out")
    shutil.copytree(out, tmp_path / "several" / "one")
    output = sweep(folder, tmp_path / "store", f"mine={tmp_path / 'several'}")
    assert "aws@mine:patterns" in output
    assert (
        accuracies(tmp_path / "store")["aws@mine:patterns", "retrain"]
        == accuracies(folder / "theirs")["aws", "retrain"]
    )


@pytest.mark.skipif(not REAL_CIFAR10.is_dir(), reason="the real CIFAR-10 is not beside the checkout")
def test_a_ticket_of_mnist_size_classes_starts_on_real_cifar_10(tmp_path: Path) -> None:
    """300 real images at 16 pixels; the ticket is random, of a data set with 7 classes."""
    folder = small_sweeps.prepare(tmp_path / "recipe", **ONE_ROUND, probe_rounds=[], image_size=16, augmentation="none")
    (folder / "data" / "cifar10").mkdir(parents=True)
    for split, rows in (("train", 300), ("test", 100)):
        head = next(pq.ParquetFile(REAL_CIFAR10 / f"{split}.parquet").iter_batches(rows))
        with pq.ParquetWriter(folder / "data" / "cifar10" / f"{split}.parquet", head.schema) as writer:
            writer.write_batch(head)
    network = build_model(Model("resnet20", {"width": 4}), in_channels=3, num_classes=7, init_seed=1)
    masks = {
        name: torch.rand(network.get_parameter(name).shape, generator=torch.Generator().manual_seed(0)) < 0.5
        for name in tickets.prunable_names(network, 7)
    }
    alive = sum(int(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())
    of_seven = Provenance("sevens", "resnet20", "random_at_init", None, alive, "sound", "unknown")
    tickets.save(tickets.from_model(network, masks, 7, of_seven), tmp_path / "sevens.parquet")
    what = [
        "--datasets",
        "cifar10",
        "--archs",
        "resnet20",
        "--recipe",
        folder / "small.yaml",
        "--set",
        "augmentation=none",
    ]
    where = ["--data-root", folder / "data", "--data-cache", folder / "cache", "--store", tmp_path / "store"]
    code, output = in_process(
        *what, *where, "--tickets", tmp_path / "sevens.parquet", "--backend", "inline", "--device", "cpu"
    )
    assert code == 0, output
    assert "the classifier is fresh, because they are of sevens" in output
    stages = load(tmp_path / "store", tickets=False).stages
    [signed] = stages[stages["transfer"] == "signed"].to_dict("records")
    assert (signed["ticket_dataset"], signed["round"]) == ("sevens", 3)  # 0.8³ is nearest to a density of one half
    assert signed["density"] == pytest.approx(alive)
