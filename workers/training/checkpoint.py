"""Rolling checkpoints of a training: one safetensors file each, complete or absent, never unpickled.

Each file holds a digest of its content, so that a bit flipped on a disk cannot reach the results.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tickets.files import digest
from tickets.files.reading import parse_json
from tickets.files.writing import replacing

KEPT = 2


@dataclass(frozen=True)
class Position:
    """How far a training is: ``batch`` batches of epoch ``epoch`` are done."""

    epoch: int
    batch: int

    @property
    def valid(self) -> bool:
        """Whether both are whole numbers from 0, as a file of somebody else's need not say."""
        return all(type(number) is int and 0 <= number < 1 << 31 for number in (self.epoch, self.batch))


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


def newest_checkpoint(
    folders: Sequence[Path],
    log: Collection[str] = (),
    like: Mapping[str, Tensor] | None = None,
    fits: Callable[[Snapshot], bool] = lambda snapshot: True,
) -> Snapshot | None:
    """Read the furthest intact checkpoint of several attempts; None if there is none.

    Args:
        log: names of the lists that the log holds.
        like: tensors, to each of which a checkpoint has one of the same name, shape and type.
        fits: whether a checkpoint can be resumed; one whose log or position cannot be used may make it raise.
    """
    found = [path for folder in folders for path in folder.glob("[0-9]*.safetensors")]
    paths = [path for path in found if path.is_file() and not path.is_symlink()]
    for path in sorted(paths, key=lambda path: path.name, reverse=True):
        try:
            with safe_open(path, framework="pt") as file:
                header, recorded = file.metadata()["winning_sign"], file.metadata()["blake2b"]
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no iterator)
            content = parse_json(header)
            position = Position(**content["position"])
            intact = recorded == digest.of_tensors(tensors, header=header, with_dtypes=True)
            fitting = all(_alike(tensor, tensors.get(name)) for name, tensor in (like or {}).items())
            if intact and fitting and position.valid and _has_lists(content["log"], log):
                snapshot = Snapshot(position, tensors, content["log"])
                if fits(snapshot):
                    return snapshot
        except (SafetensorError, OSError, LookupError, TypeError, ValueError, RuntimeError):
            continue
    return None


def _alike(one: Tensor, other: Tensor | None) -> bool:
    return other is not None and (one.shape, one.dtype) == (other.shape, other.dtype)


def _has_lists(log: object, names: Collection[str]) -> bool:
    return isinstance(log, dict) and {*names} <= log.keys() and all(isinstance(log[name], list) for name in names)
