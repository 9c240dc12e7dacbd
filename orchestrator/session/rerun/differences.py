"""Compares what a stage wrote again with what its record and the store hold: bit for bit, except timings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic_core import to_jsonable_python
from torch import Tensor

import tickets
from orchestrator.store.record import Record
from orchestrator.store.values import Results
from tickets import Ticket
from tickets.files.tables import read_rows
from workers.attempts.workspace import artifact
from workers.storage import artifacts, schemas

RESULTS = "results"
"""Stands for a file's name where the record's own numbers differ."""
UNITS = {"_percent": "points", "_points": "points", "_nats": "nats"}
"""Units of differences, by the end of a column's or a result's name."""


class Difference(BaseModel):
    """What differs in one part of a stage's output.

    Attributes:
        file: name of the file, or ``results``.
        part: the column, the result, or empty for the whole file.
        values: number of values that differ; None if the parts cannot be compared value by value.
        largest: largest absolute difference, in ``unit``; None if unknown or not finite.
        largest_relative: largest difference relative to the recorded value, where that is not 0.
        unit: "points" (of percent), "nats", or empty for weights and other numbers.
        note: what a number cannot say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    part: str = ""
    values: int | None = None
    largest: float | None = None
    largest_relative: float | None = None
    unit: str = ""
    note: str = ""

    def __str__(self) -> str:
        place = f"{self.file} {self.part}".strip()
        if self.values is None:
            return f"{place}: {self.note}"
        facts = [f"{self.values:,} values differ"]
        if self.largest is not None:
            facts.append(f"by at most {self.largest:.3g} {self.unit}".rstrip())
        if self.largest_relative is not None:
            facts.append(f"{self.largest_relative:.3g} relative")
        return f"{place}: {', '.join([*facts, *([self.note] if self.note else [])])}"


def differences(
    record: Record, results: Mapping[str, Any], stored: Callable[[str], Path | None], again: Path
) -> list[Difference]:
    """Compare a stage's files and results with those that were computed again.

    A file with the recorded digest is the same. One with other bytes may hold the same content, since pyarrow writes
    its version: then tensors, signs, masks and columns are compared by their bits. Files, columns and results that an
    earlier version did not write are left out.

    Args:
        results: what the stage returned again.
        stored: the store's file by its name; None if ``orchestrator.gc`` removed it.
        again: the folder of the files that were computed again.

    Raises:
        UnreadableFileError, TicketError: a file cannot be read.
    """
    differing: list[Difference] = []
    for name, recorded in record.files.items():
        path = again / name
        if name == schemas.TIMING:
            continue
        if not path.is_file():
            differing.append(Difference(file=name, note="it was not written again"))
        elif artifact(path) != recorded:
            old = stored(name)
            if old is None:
                differing.append(
                    Difference(file=name, note="it differs, and gc removed the stored file to compare with")
                )
            else:
                differing += _in_file(name, old, path)
    return differing + list(_in_results(record.results, results))


def _in_file(name: str, old: Path, new: Path) -> Iterator[Difference]:
    if name.endswith(".safetensors"):
        yield from _in_weights(name, old, new)
    elif name == schemas.TICKET:
        yield from _in_tickets(name, tickets.load(old), tickets.load(new))
    elif name in schemas.SCHEMAS:
        tables = (read_rows(path, schemas.SCHEMAS[name], schemas.OPTIONAL_COLUMNS) for path in (old, new))
        yield from _in_tables(name, *tables)
    else:
        yield Difference(file=name, note="its bytes differ")


def _in_weights(name: str, old: Path, new: Path) -> Iterator[Difference]:
    (before, masks), (after, masks_again) = artifacts.load_weights(old), artifacts.load_weights(new)
    if masks != masks_again:
        yield Difference(file=name, part="masks", note="other weights are pruned")
    if {key: (value.shape, value.dtype) for key, value in before.items()} != {
        key: (value.shape, value.dtype) for key, value in after.items()
    }:
        yield Difference(file=name, note="its tensors have other names, shapes or types")
        return
    yield from _largest(name, "", "", [_compared(_array(before[key]), _array(after[key])) for key in before])


def _in_tickets(name: str, before: Ticket, after: Ticket) -> Iterator[Difference]:
    if before.provenance != after.provenance:
        yield Difference(file=name, part="provenance", note=f"{after.provenance} instead of {before.provenance}")
    if {key: (value.role, value.sign.shape) for key, value in before.tensors.items()} != {
        key: (value.role, value.sign.shape) for key, value in after.tensors.items()
    }:
        yield Difference(file=name, note="its tensors have other names, roles or shapes")
        return
    pairs = [(tensor, after.tensors[key]) for key, tensor in before.tensors.items()]
    for part in ("sign", "mask"):
        values = sum(int((getattr(a, part) != getattr(b, part)).sum()) for a, b in pairs)
        if values:
            yield Difference(file=name, part=f"{part}s", values=values)


def _in_tables(name: str, before: pa.Table, after: pa.Table) -> Iterator[Difference]:
    if before.num_rows != after.num_rows:
        yield Difference(file=name, note=f"it has {after.num_rows} rows instead of {before.num_rows}")
        return
    for column in before.column_names:
        old, new = (table[column].combine_chunks() for table in (before, after))
        if column in schemas.OPTIONAL_COLUMNS and old.null_count == len(old):
            continue  # an earlier version wrote none
        if pa.types.is_floating(old.type) and old.null_count == new.null_count == 0:
            yield from _largest(name, column, _unit(column), [_compared(old.to_numpy(), new.to_numpy())])
        elif (values := sum(a != b for a, b in zip(old.to_pylist(), new.to_pylist(), strict=True))) > 0:
            yield Difference(file=name, part=column, values=values)


def _in_results(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    # as a record would keep them
    kept = to_jsonable_python(TypeAdapter(Results).validate_python(dict(after)))
    for name, old in before.items():
        new = kept.get(name)
        if isinstance(old, float) and isinstance(new, float):
            yield from _largest(RESULTS, name, _unit(name), [_compared(np.array([old]), np.array([new]))])
        elif new != old:
            yield Difference(file=RESULTS, part=name, note=f"{new!r} instead of {old!r}")


def _array(tensor: Tensor) -> np.ndarray:
    """The values of a tensor; numpy has no bfloat16, whose every value is one of float32."""
    flat = tensor.reshape(-1)
    return (flat.float() if flat.dtype is torch.bfloat16 else flat).numpy()


def _unit(name: str) -> str:
    return next((unit for end, unit in UNITS.items() if name.endswith(end)), "")


def _compared(old: np.ndarray, new: np.ndarray) -> tuple[int, float, float]:
    """Return how many values differ in any bit, and their largest absolute and relative difference.

    The relative difference is NaN where every recorded value is 0; both are infinite where a value is not finite.
    """
    bits = f"u{old.dtype.itemsize}"
    differ = old.view(bits) != new.view(bits)
    if not differ.any():
        return 0, 0.0, math.nan
    was, now = old[differ].astype(np.float64), new[differ].astype(np.float64)
    if not (np.isfinite(was).all() and np.isfinite(now).all()):
        return int(differ.sum()), math.inf, math.inf
    gap, nonzero = np.abs(now - was), was != 0
    relative = float((gap[nonzero] / np.abs(was[nonzero])).max()) if nonzero.any() else math.nan
    return int(differ.sum()), float(gap.max()), relative


def _largest(file: str, part: str, unit: str, compared: list[tuple[int, float, float]]) -> Iterator[Difference]:
    """Yield one difference for all compared arrays, if any differs."""
    values = sum(count for count, _, _ in compared)
    if values == 0:
        return
    absolute = max(gap for _, gap, _ in compared)
    relative = max((ratio for _, _, ratio in compared if not math.isnan(ratio)), default=math.inf)
    yield Difference(
        file=file,
        part=part,
        values=values,
        largest=absolute if math.isfinite(absolute) else None,
        largest_relative=relative if math.isfinite(relative) else None,
        unit=unit,
        note="" if math.isfinite(absolute) else "some values are not finite",
    )
