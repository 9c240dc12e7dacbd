"""Commits stages with metrics by hand."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from orchestrator.store import Store
from orchestrator.store.record import Labels, Record
from workers.attempts.workspace import artifact
from workers.storage.artifacts import write_rows
from workers.storage.schemas import METRICS, METRICS_SCHEMA, TIMING, TIMING_SCHEMA

FINISHED_UNIX_S = 1_700_000_000.0
SEED = 7_090_116_502_968_960_496  # no float holds it
CHAIN = {"dataset": "mnist1d", "architecture": "net", "preset": "sound", "method": "aws", "chain": 2}


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
            labels=TypeAdapter(Labels).validate_python(labels),
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
