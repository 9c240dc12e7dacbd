"""A small synthetic store, written by hand: records, plans, failures and Parquet files without any training."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.figures import CATALOGUE
from analysis.page.rendering import render
from orchestrator.store import Store
from orchestrator.store.layout import stage_folder
from orchestrator.store.plans import PlannedStage, StoredPlan
from orchestrator.store.record import Failure, Labels, Record
from workers.attempts.workspace import Artifact

LAMBDAS = (0.0, 0.5, 1.0)
SETTING = {"dataset": "digits", "architecture": "tiny", "preset": "sound"}


class SyntheticStore:
    """Writes stages as a sweep would have committed them; a stage's key is a hash of its name and recipe."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._clock = 1_700_000_000.0

    def stage(
        self,
        kind: str,
        labels: dict[str, Any],
        results: dict[str, Any],
        *,
        files: dict[str, pa.Table] | None = None,
        inputs: dict[str, str] | None = None,
        science: dict[str, Any] | None = None,
        name: str | None = None,
        provenance: dict[str, Any] | None = None,
        seconds: float = 2.5,
    ) -> str:
        """Commit a stage and return its key. Later calls finish later."""
        full = Labels(**{**SETTING, **labels})
        name = name or _name(kind, full)
        science = science or {"epochs": 3}
        key = hashlib.blake2b(f"{name}{science}".encode(), digest_size=16).hexdigest()
        folder = self.root / stage_folder(kind, name, key)
        (folder / "out").mkdir(parents=True)
        for file, table in (files or {}).items():
            pq.write_table(table, folder / "out" / file)
        self._clock += 1
        record = Record(
            key=key,
            kind=kind,
            name=name,
            labels=full,
            science=science,
            inputs=inputs or {},
            attempt=1,
            files={file: Artifact(size_bytes=1, blake2b="0") for file in files or {}},
            results=results,
            seconds=seconds,
            finished_unix_s=self._clock,
            provenance=provenance
            or {"git_commit": "abc123", "device": "cpu", "host": "h", "python": "3.11", "packages": {"torch": "2.11"}},
        )
        (folder / "record.json").write_text(record.sealed().model_dump_json())
        return key

    @staticmethod
    def metrics(accuracy: float) -> pa.Table:
        """Two epochs of training and the closing test."""
        return pa.table(
            {
                "epoch": [1, 2, 2],
                "split": ["train", "train", "test"],
                "loss_nats": [2.0, 1.0, 1.1],
                "accuracy_percent": [accuracy - 10, accuracy + 1, accuracy],
                "images": [100, 100, 50],
                "learning_rate": [0.1, 0.01, 0.01],
            }
        )

    @staticmethod
    def ticket(signs: dict[str, list[int]], zeros: dict[str, list[int]] | None = None) -> pa.Table:
        """A ticket's table, as ``tickets.save`` writes it."""
        return pa.table(
            {
                "name": list(signs),
                "shape": [[len(sign)] for sign in signs.values()],
                "role": ["prunable"] * len(signs),
                "sign": pa.array(list(signs.values()), pa.list_(pa.field("element", pa.int8(), nullable=False))),
                "surviving_zeros": pa.array([(zeros or {}).get(name, []) for name in signs], pa.list_(pa.int64())),
            }
        )

    def train(self, transfer: str, accuracy: float, science: dict[str, Any] | None = None, **labels: Any) -> str:
        """A final training."""
        density = 0.8 ** labels.get("round", 0)
        results = {"density": density, "test_accuracy_percent": accuracy, "test_loss_nats": 1.0}
        timing = pa.table({"epoch": [1, 2], "seconds": [1.0, 0.5], "images_per_second": [100.0, 200.0]})
        files = {"metrics.parquet": self.metrics(accuracy), "timing.parquet": timing}
        return self.stage("train", {"transfer": transfer, **labels}, results, files=files, science=science)

    def probe(self, probe: str, transfer: str, errors: tuple[float, ...], **labels: Any) -> str:
        """A probe at lambda 0, 1/2 and 1."""
        height = max(errors) - (errors[0] + errors[-1]) / 2
        barrier = {
            "barrier_points": height,
            "barrier_standard_error_points": 0.1,
            "barrier_lambda": 0.5,
            "loss_barrier_nats": 0.2,
            "loss_barrier_standard_error_nats": 0.01,
            "same_mask": True,
        }
        points = {
            "lambda": LAMBDAS,
            "error_percent": errors,
            "error_standard_error_points": [0.1] * 3,
            "loss_nats": [1.0] * 3,
            "loss_standard_error_nats": [0.01] * 3,
        }
        return self.stage(
            "probe",
            {"probe": probe, "transfer": transfer, **labels},
            {"density": 0.8 ** labels["round"], **barrier},
            files={"probe.parquet": pa.table(points), "barrier.parquet": pa.Table.from_pylist([barrier])},
        )

    def plan(
        self, *stages: tuple[str, str], inputs: dict[str, dict[str, str]] | None = None, kind: str = "train"
    ) -> None:
        """Write a plan of the given (name, key) pairs, of one kind, and all done stages; inputs are by key."""
        done = [(record.name, key) for key, record in Store(self.root).records().items()]
        labels = Labels(**SETTING)
        planned = [
            PlannedStage(key=key, kind=kind, name=name, labels=labels, inputs=(inputs or {}).get(key, {}))
            for name, key in [*done, *stages]
        ]
        (self.root / "plans").mkdir(parents=True, exist_ok=True)
        plan = StoredPlan(argv=["sweep"], started_unix_s=self._clock, stages=planned)
        (self.root / "plans" / f"{len(planned)}.json").write_text(plan.model_dump_json())

    def event(self, event: str, key: str, second: float, attempt: int | None = 1, **details: Any) -> None:
        """An event of a sweep, some seconds after its start."""
        line = {"time_unix_s": 1_700_000_000.0 + second, "event": event, "key": key, "name": f"name of {key[:4]}"}
        line |= {"attempt": attempt, **details} if attempt else details
        log = self.root / "events" / "driver.jsonl"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def failure(self, name: str, key: str, message: str) -> None:
        """A stage whose first attempt failed."""
        attempt = self.root / stage_folder("train", name, key) / "attempts" / "1"
        attempt.mkdir(parents=True)
        failure = Failure(
            key=key,
            name=name,
            attempt=1,
            error_type="DivergedError",
            message=message,
            log=f"{attempt.relative_to(self.root)}/log.txt",
            finished_unix_s=self._clock,
            cause="application",
        )
        (attempt / "failure.json").write_text(failure.model_dump_json())


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test its own user cache: stages of different tests share names, and so keys."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))


@pytest.fixture
def store(tmp_path: Path) -> SyntheticStore:
    """An empty store."""
    return SyntheticStore(tmp_path / "runs")


@pytest.fixture
def sweep(finished_sweep: Path, store: SyntheticStore) -> SyntheticStore:
    """Two methods, one chain, three seeds, rounds 5 and 10; signs carry a lot under AWS and nothing under LRR."""
    shutil.copytree(finished_sweep, store.root)
    return store


@pytest.fixture
def one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reports have the first figure only: drawing all of them takes seconds."""
    monkeypatch.setattr("analysis.report.render", partial(render, catalogue=CATALOGUE[:1]))


@pytest.fixture(scope="session")
def finished_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that each ``sweep`` is a copy of."""
    store = SyntheticStore(tmp_path_factory.mktemp("sweep"))
    for seed in (1, 2, 3):
        store.train("dense", 70.0 + seed, seed=seed)
    for method, gains in (("aws", (9.0, 10.0, 11.0)), ("lrr", (-1.0, 0.0, 1.0))):
        for round_ in (5, 10):
            for seed, gain in enumerate(gains, start=1):
                labels = {"method": method, "chain": 1, "round": round_, "seed": seed}
                store.train("retrain", 66.0 + seed, **labels)
                store.train("mask", 50.0 + seed, **labels)
                store.train("signed", 50.0 + seed + gain, **labels)
                store.train("signed", 0.0, twin=True, **labels)
                middle = 30.0 + seed if method == "aws" else 60.0 + seed
                store.probe("lmc", "signed", (30.0, middle, 30.0), **labels)
                store.probe("stability", "signed", (30.0, 32.0, 30.0), **labels)
    return store.root


def _name(kind: str, labels: Labels) -> str:
    words = [kind, *(json.dumps(value).strip('"') for value in asdict(labels).values() if value is not None)]
    return "/".join(words)
