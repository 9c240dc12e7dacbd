"""Damage files: cut them short or flip a bit."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from benchmarks.faults.trial import Trial
from orchestrator.store import Store


def cut(path: Path, draw: random.Random) -> None:
    """Cut the file at a random place before its last byte."""
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content))])


def flip(path: Path, draw: random.Random) -> None:
    """Flip one random bit."""
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def damage(path: Path, draw: random.Random) -> None:
    """Cut the file or flip one of its bits."""
    draw.choice([cut, flip])(path, draw)


def checkpoints(store: Path) -> list[Path]:
    """List checkpoint files, the newest last."""
    return sorted(store.rglob("checkpoint/[0-9]*.safetensors"), key=lambda path: path.stat().st_mtime_ns)


def needed_artifacts(trial: Trial, least: int) -> list[Path]:
    """List files of stages that at least ``readers`` stages still wait for, in random order."""
    store = Store(trial.place.store)
    records = store.records()
    waiting = Counter(
        upstream
        for key, record in trial.reference.records.items()
        if key not in records
        for upstream in record.inputs.values()
    )
    found = [
        store.storage.folder / store.out(key) / name
        for key, record in records.items()
        if waiting[key] >= least and store.storage.folder is not None
        for name in record.files
    ]
    trial.draw.shuffle(found)
    return found
