"""Write and read the files in a stage's ``out/``: weights and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tickets.files import digest
from tickets.files.reading import UnreadableFileError, check_regular


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema, *, compressed: bool = False) -> None:
    """Write rows as a Parquet file.

    Of few rows, plain values take no more bytes than compressed ones, and a third of the time to read.

    Args:
        compressed: for thousands of rows, with words that repeat.
    """
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    pq.write_table(
        table,
        path,
        compression="zstd" if compressed else "none",
        use_dictionary=compressed,
        write_statistics=False,
        write_page_checksum=True,
    )


def save_weights(path: Path, state: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None) -> None:
    """Write a state dict, with the digest of the masks that it was trained under as metadata."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, path, {"masks_blake2b": masks_digest(masks or {})})


def load_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Read a state dict, on the CPU, and the digest of the masks that it was trained under.

    Raises:
        UnreadableFileError: the file is no regular file, or holds no weights.
        OSError: the file is missing.
    """
    check_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no iterator)
            return tensors, file.metadata()["masks_blake2b"]
    except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise UnreadableFileError(f"{path} holds no weights: {error}") from error


def masks_digest(masks: Mapping[str, Tensor]) -> str:
    """Digest of masks by name; equal if and only if the masks are equal."""
    return digest.of_tensors({name: mask.bool() for name, mask in masks.items()})


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Digest of a state dict's tensors."""
    return digest.of_tensors(state)
