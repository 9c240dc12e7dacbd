"""Rolling checkpoints of a training: one safetensors file each, complete or absent, never unpickled.

Each file holds a digest of its content, so that a bit flipped on a disk cannot reach the results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tickets.files import digest
from tickets.files.writing import replacing

KEPT = 2


@dataclass(frozen=True)
class Position:
    """How far a training is: ``batch`` batches of epoch ``epoch`` are done."""

    epoch: int
    batch: int


@dataclass(frozen=True)
class Snapshot:
    """A training's whole state: position, tensors by name, and the log so far."""

    position: Position
    tensors: Mapping[str, Tensor]
    log: Mapping[str, Any]


def save_checkpoint(folder: Path, snapshot: Snapshot) -> None:
    """Write a checkpoint, and remove all but the newest ``KEPT``."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{snapshot.position.epoch:05d}-{snapshot.position.batch:07d}.safetensors"
    header = json.dumps({"position": vars(snapshot.position), "log": dict(snapshot.log)})
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in snapshot.tensors.items()}
    content = digest.of_tensors(tensors, header=header, with_dtypes=True)
    with replacing(folder / name) as partial:
        save_file(tensors, partial, {"winning_sign": header, "blake2b": content})
    for old in sorted(folder.glob("[0-9]*.safetensors"))[:-KEPT]:
        old.unlink()


def newest_checkpoint(folders: Sequence[Path]) -> Snapshot | None:
    """Read the furthest intact checkpoint of several attempts; None if there is none."""
    paths = [path for folder in folders for path in folder.glob("[0-9]*.safetensors")]
    for path in sorted(paths, key=lambda path: path.name, reverse=True):
        try:
            with safe_open(path, framework="pt") as file:
                header, recorded = file.metadata()["winning_sign"], file.metadata()["blake2b"]
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no iterator)
            content = json.loads(header)
        except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError):
            continue
        if recorded == digest.of_tensors(tensors, header=header, with_dtypes=True):
            return Snapshot(Position(**content["position"]), tensors, content["log"])
    return None
