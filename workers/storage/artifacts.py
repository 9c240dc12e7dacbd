"""A stage's files: what is written into ``out/`` and read from an input's ``out/``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from tickets.files import digest


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Write rows as Parquet."""
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), path, compression="zstd")


def save_weights(path: Path, state: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None) -> None:
    """Write a state dict; the file's metadata tells the masks that it was trained under."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, path, {"masks_blake2b": masks_digest(masks or {})})


def load_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """A state dict, on the CPU, and the digest of the masks it was trained under."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no iterator)
        return tensors, file.metadata()["masks_blake2b"]


def masks_digest(masks: Mapping[str, Tensor]) -> str:
    """Digest of a set of masks; equal if and only if the masks are."""
    return digest.of_tensors({name: mask.bool() for name, mask in masks.items()})


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Digest of a state dict's bytes."""
    return digest.of_tensors(state)
