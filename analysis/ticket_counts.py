"""Counts of signs per tensor, read from ticket files by Arrow kernels; the signs never become Python objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestrator.store import StoreError

COUNT_COLUMNS = ("tensor", "role", "weights", "surviving", "positive", "negative", "density")


def ticket_counts(files: Mapping[str, Path]) -> pd.DataFrame:
    """One row per ticket and tensor.

    Args:
        files: ``ticket.parquet`` by its stage's key.

    Returns:
        Columns ``key``, ``tensor``, ``role``, ``weights``, ``surviving`` (positive, negative and surviving zeros),
        ``positive``, ``negative`` and ``density`` (surviving / weights).

    Raises:
        StoreError: a file is no ticket.
    """
    tables = [_counts(path).assign(key=key) for key, path in files.items()]
    if tables:
        return pd.concat(tables, ignore_index=True)
    return pd.DataFrame(columns=["key", *COUNT_COLUMNS]).astype({"key": "str", "tensor": "str", "role": "str"})


def _counts(path: Path) -> pd.DataFrame:
    try:
        table = pq.read_table(path, columns=["name", "role", "sign", "surviving_zeros"])
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{path} is no readable ticket: {error}") from error
    positive, negative = (_per_tensor(table["sign"], sign) for sign in (1, -1))
    surviving = pc.add(pc.add(positive, negative), pc.cast(pc.list_value_length(table["surviving_zeros"]), pa.int64()))
    weights = pc.cast(pc.list_value_length(table["sign"]), pa.int64())
    columns = {
        "tensor": table["name"],
        "role": table["role"],
        "weights": weights,
        "surviving": surviving,
        "positive": positive,
        "negative": negative,
        "density": pc.divide(pc.cast(surviving, pa.float64()), pc.cast(weights, pa.float64())),
    }
    return pa.table(columns).to_pandas()


def _per_tensor(signs: pa.ChunkedArray, sign: int) -> pa.Array:
    """How often a sign occurs in each tensor: a difference of running counts. Shape (tensors,), int64."""
    lists = pa.concat_arrays(signs.chunks) if signs.num_chunks != 1 else signs.chunk(0)
    hits = pc.cast(pc.equal(lists.flatten(), pa.scalar(sign, pa.int8())), pa.int32())
    running = pa.concat_arrays([pa.array([0], pa.int64()), pc.cast(pc.cumulative_sum(hits), pa.int64())])
    ends = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(_lengths(lists))])
    at_ends = running.take(ends)
    return pc.subtract(at_ends.slice(1), at_ends.slice(0, len(lists)))


def _lengths(lists: pa.Array) -> pa.Array:
    return pc.cast(pc.list_value_length(lists), pa.int64())
