"""Write and read the files in a stage's ``out/``: weights and tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tickets.files import digest
from tickets.files.reading import UnreadableFileError, check_regular

_MASKS = "masks_blake2b"
MOST_ZEROS = 1_000_000  # a file of safetensors begins with at most 100 MB of metadata


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
    """Write a state dict, with what its weights do not tell of the masks that it was trained under.

    The metadata have their digest, and after a space the flat places of survivors that are exactly zero, as JSON by
    weight, if there are any, at most ``MOST_ZEROS``. Both are one entry: safetensors writes several in random order.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    masks = {name: mask.bool().cpu() for name, mask in (masks or {}).items()}
    zeros = {name: (mask & (tensors[name] == 0)).flatten().nonzero().flatten().tolist() for name, mask in masks.items()}
    known = 0 < sum(map(len, zeros.values())) <= MOST_ZEROS
    places = f" {json.dumps({name: at for name, at in zeros.items() if at})}" if known else ""
    save_file(tensors, path, {_MASKS: masks_digest(masks) + places})


def load_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Read a state dict, on the CPU, and the digest of the masks that it was trained under.

    Raises:
        UnreadableFileError: the file is no regular file, or holds no weights.
        OSError: the file is missing.
    """
    with _weights(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no iterator)
        return tensors, file.metadata()[_MASKS].partition(" ")[0]


def surviving_zeros(path: Path) -> dict[str, list[int]]:
    """Read the flat places of survivors that are exactly zero, by weight; files of earlier versions name none.

    Raises:
        UnreadableFileError: the file is no regular file, or holds no weights.
        OSError: the file is missing.
    """
    with _weights(path) as file:
        return dict(json.loads(file.metadata()[_MASKS].partition(" ")[2] or "{}"))


@contextmanager
def _weights(path: Path) -> Iterator[safe_open]:
    check_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise UnreadableFileError(f"{path} holds no weights: {error}") from error


def masks_digest(masks: Mapping[str, Tensor]) -> str:
    """Digest of masks by name; equal if and only if the masks are equal."""
    return digest.of_tensors({name: mask.bool() for name, mask in masks.items()})


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Digest of a state dict's tensors."""
    return digest.of_tensors(state)
