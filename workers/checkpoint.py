"""Rolling checkpoints inside a training: one safetensors file each, complete or absent, never unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

KEPT = 2


@dataclass(frozen=True)
class Position:
    """Where a training stands: ``batch`` batches of epoch ``epoch`` are done."""

    epoch: int
    batch: int


@dataclass(frozen=True)
class Snapshot:
    """A training's whole state: position, tensors by name, and what the log holds so far."""

    position: Position
    tensors: Mapping[str, Tensor]
    log: Mapping[str, Any]


def save_checkpoint(folder: Path, snapshot: Snapshot) -> None:
    """Write a checkpoint and remove all but the newest two."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{snapshot.position.epoch:05d}-{snapshot.position.batch:07d}.safetensors"
    header = json.dumps({"position": vars(snapshot.position), "log": dict(snapshot.log)})
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in snapshot.tensors.items()}
    save_file(tensors, folder / f".{name}", {"winning_sign": header})
    (folder / f".{name}").replace(folder / name)
    for old in sorted(folder.glob("[0-9]*.safetensors"))[:-KEPT]:
        old.unlink()


def newest_checkpoint(folders: Sequence[Path]) -> Snapshot | None:
    """The furthest readable checkpoint of several attempts; a damaged file is passed over for the one before."""
    paths = [path for folder in folders for path in folder.glob("[0-9]*.safetensors")]
    for path in sorted(paths, key=lambda path: path.name, reverse=True):
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads(file.metadata()["winning_sign"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no iterator)
        except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError):
            continue
        return Snapshot(Position(**header["position"]), tensors, header["log"])
    return None


def pack_state(model: nn.Module, optimizer: torch.optim.Optimizer, sums: Tensor) -> dict[str, Tensor]:
    """Everything a step reads or changes, as flat tensors."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if value is not None:
                tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
    tensors["sums"] = sums
    tensors["generator"] = torch.random.get_rng_state()
    if sums.is_cuda:
        tensors["cuda_generator"] = torch.cuda.get_rng_state(sums.device)
    return tensors


def unpack_state(
    tensors: Mapping[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer, sums: Tensor
) -> None:
    """Put a packed state back, in place."""
    model.load_state_dict(
        {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    )
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            like = parameters[int(index)]
            if tensor.shape == like.shape:
                # fused optimizers walk parameter and moment by address, so both need one memory layout
                tensor = torch.empty_like(like).copy_(tensor)
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    sums.copy_(tensors["sums"])
    torch.random.set_rng_state(tensors["generator"])
    if "cuda_generator" in tensors and sums.is_cuda:
        torch.cuda.set_rng_state(tensors["cuda_generator"], sums.device)
