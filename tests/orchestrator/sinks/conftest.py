"""A store of four small stages, written by hand, and an environment in which no tool is set up."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store import Store
from orchestrator.store.record import Labels, Record
from workers.attempts.workspace import artifact
from workers.storage.artifacts import write_rows
from workers.storage.schemas import METRICS, METRICS_SCHEMA, TIMING, TIMING_SCHEMA

FINISHED_UNIX_S = 1_700_000_000.0
SEED = 7_090_116_502_968_960_496  # no float holds it
CHAIN = {"dataset": "mnist1d", "architecture": "net", "preset": "sound", "method": "aws", "chain": 2}


@pytest.fixture(autouse=True)
def _nothing_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither logged in nor with a server, in an empty folder; wandb's own process ends with the test."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    yield
    if wandb := sys.modules.get("wandb"):
        wandb.teardown()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A round, a transfer, a dense training and a probe."""
    store = Store(tmp_path / "store")
    (tmp_path / "store").mkdir()
    commit(store, "a", "round", "mnist1d/net/aws/chain2/round07", {**CHAIN, "round": 7})
    trained = {**CHAIN, "round": 7, "transfer": "signed", "seed": 1}
    commit(store, "b", "train", "mnist1d/net/aws/chain2/round07/signed/seed1", trained)
    commit(store, "c", "train", "mnist1d/net/dense/seed1", {**CHAIN, "method": None, "chain": None})
    commit(store, "d", "probe", "mnist1d/net/aws/chain2/round07/signed/lmc/seed1", {**trained, "probe": "lmc"}, 0)
    return store


def key(digit: str) -> str:
    return digit * 32


def commit(store: Store, digit: str, kind: str, name: str, labels: dict[str, object], epochs: int = 2) -> None:
    """Commit a stage of some epochs, each of 3 seconds, with accuracies 10, 20, ...; without epochs a probe."""
    store.locate(kind, name, key(digit))
    claimed = store.claim(key(digit), "a-driver")
    assert claimed is not None
    out = Path(store.root) / claimed / "out"
    out.mkdir()
    if epochs:
        rows = [
            {"epoch": n, "split": split, "loss_nats": 1 / n, "accuracy_percent": 10.0 * n, "learning_rate": 0.1 / n}
            for n in range(1, epochs + 1)
            for split in ("train", "validation")
        ]
        write_rows(out / METRICS, [{**row, "images": 5} for row in rows], METRICS_SCHEMA)
        times = [{"epoch": n, "seconds": 3.0, "images_per_second": 9.0} for n in range(1, epochs + 1)]
        write_rows(out / TIMING, times, TIMING_SCHEMA)
    store.commit(
        Record(
            key=key(digit),
            kind=kind,
            name=name,
            labels=Labels.model_validate(labels),
            science={
                "training": {"optimizer": {"learning_rate": 0.1}, "schedule": {"milestones": [1, 2]}},
                "sgd_seed": SEED,
            },
            inputs={},
            attempt=1,
            out="attempts/1/out",
            files={path.name: artifact(path) for path in out.iterdir()},
            results={"density": 0.5, "init_blake2b": "ab"} if epochs else {"barrier_points": 7.5, "same_mask": True},
            seconds=10.0,
            finished_unix_s=FINISHED_UNIX_S,
            provenance={},
        )
    )
