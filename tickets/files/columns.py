"""Read the columns of a ``ticket.parquet`` as numpy arrays, without torch. ``tickets.load`` makes a Ticket of them.

Columns, one row per parameter: ``name``, ``shape`` (list of int64), ``role``, ``sign`` (list of int8 in {-1, 0, +1},
row-major) and ``surviving_zeros`` (list of int64: flat positions that the mask keeps although their sign is 0; nearly
always empty). The mask is therefore ``sign != 0``, or'ed with ``surviving_zeros``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tickets.errors import TicketError
from tickets.files.reading import UnreadableFileError
from tickets.files.tables import MOST_LETTERS, Bounds, read_each_row

ZEROS = Bounds(most_rows=20_000, free_values=1_000_000, values_per_byte=20)
"""Of ``surviving_zeros``: its positions differ, so that no encoding shortens them to less than half a byte each."""
BOUNDS = Bounds(most_rows=20_000, free_values=100_000_000, values_per_byte=2000, narrower={"surviving_zeros": ZEROS})
"""Of a ticket: even one whose layers are all zero holds a ViT-B/16, and any real one a network of any size: its masks
take 0.004 bits a weight at a density of 0.03 %."""
MOST_SIDES, LARGEST_SHAPE = 32, 1 << 48

SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("shape", pa.list_(pa.int64()), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("sign", pa.list_(pa.field("element", pa.int8(), nullable=False)), nullable=False),
        pa.field("surviving_zeros", pa.list_(pa.int64()), nullable=False),
    ]
)


@dataclass(frozen=True, eq=False)
class TicketColumns:
    """A ticket's file, checked, with the tensors one after another.

    Attributes:
        names, roles, shapes: of each tensor, in the network's order.
        sizes: number of elements of each tensor; shape (tensors,), int64.
        sign: int8 in {-1, 0, +1}; shape (sum of sizes,).
        mask: bool, which weights survive; shape (sum of sizes,).
        metadata: of the file: key -> value.
    """

    names: tuple[str, ...]
    roles: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    sizes: npt.NDArray[np.int64]
    sign: npt.NDArray[np.int8]
    mask: npt.NDArray[np.bool_]
    metadata: Mapping[bytes, bytes]

    def slices(self) -> Iterator[slice]:
        """Where each tensor lies in ``sign`` and ``mask``."""
        ends = np.cumsum(self.sizes).tolist()
        return map(slice, [0, *ends], ends)


def read_columns(path: Path | str) -> TicketColumns:
    """Read a ticket's file; signs never become Python objects.

    Raises:
        TicketError: the file is missing, truncated or no ticket, or holds values that contradict each other; the
            message names the file and, where possible, the tensor.
    """
    try:
        table = read_each_row(path, SCHEMA.names, BOUNDS)
    except UnreadableFileError as error:
        raise TicketError(f"{path} is no readable ticket: it {str(error).removeprefix(f'{path} ')}") from error
    except OSError as error:
        raise TicketError(f"{path} is no readable ticket: {error.strerror}") from error
    if missing := [name for name in SCHEMA.names if name not in table.column_names]:
        raise TicketError(f"{path} is no ticket: it lacks the columns {', '.join(missing)}")
    try:
        names, roles = (tuple(str(name.as_py()) for name in table.column(column)) for column in ("name", "role"))
        shapes = tuple(tuple(int(side) for side in shape.as_py()) for shape in table.column("shape"))
        sign, sizes = _flat(table.column("sign"))
        zeros, zeros_each = _flat(table.column("surviving_zeros"))
        zeros = zeros.astype(np.int64, casting="same_kind")
    except (TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        raise TicketError(f"{path} is no ticket: its columns are of other types") from error
    _check(path, names, shapes, sign, sizes)
    starts = np.cumsum(sizes) - sizes
    mask = sign != 0
    positions = np.repeat(starts, zeros_each) + zeros
    outside = (zeros < 0) | (zeros >= np.repeat(sizes, zeros_each))
    wrong = outside.copy()
    wrong[~outside] = mask[positions[~outside]]
    if wrong.any():
        name = np.repeat(np.arange(len(names)), zeros_each)[wrong][0]
        raise TicketError(
            f"{path}: {names[name]}: surviving_zeros names a position that does not exist or whose sign is not 0"
        )
    mask[positions] = True
    signs = sign.astype(np.int8, copy=False)
    return TicketColumns(names, roles, shapes, sizes, signs, mask, dict(table.schema.metadata or {}))


def _flat(lists: pa.ChunkedArray) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.int64]]:
    """The elements of all lists in a row, and the length of each list."""
    lengths = pc.list_value_length(lists).to_numpy()
    if not np.issubdtype(lengths.dtype, np.integer):
        raise TypeError("a list is missing")
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in lists.chunks]
    return np.concatenate(flat or [np.empty(0, np.int8)]), lengths.astype(np.int64)


def _check(
    path: Path | str,
    names: tuple[str, ...],
    shapes: tuple[tuple[int, ...], ...],
    sign: npt.NDArray[np.integer],
    sizes: npt.NDArray[np.int64],
) -> None:
    if sign.dtype != np.int8:
        raise TicketError(f"{path} is no ticket: signs are int8 without missing values, got {sign.dtype}")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise TicketError(f"{path}: {twice[0]} occurs twice")
    for name, shape, size in zip(names, shapes, sizes.tolist(), strict=True):
        if len(name) > MOST_LETTERS:
            raise TicketError(f"{path}: {name[:40]}… is a name of more than {MOST_LETTERS:,} letters")
        if len(shape) > MOST_SIDES or math.prod(max(1, abs(side)) for side in shape) > LARGEST_SHAPE:
            raise TicketError(f"{path}: {name}: no tensor has {len(shape)} sides of its lengths")
        if min(shape, default=0) < 0 or math.prod(map(abs, shape)) != size:
            raise TicketError(f"{path}: {name}: {size} signs do not fill the shape {shape}")
    if sign.size and (sign.min() < -1 or sign.max() > 1):
        first = int(((sign < -1) | (sign > 1)).argmax())
        name = names[int(np.searchsorted(np.cumsum(sizes), first, side="right"))]
        raise TicketError(f"{path}: {name}: a sign is -1, 0 or +1")
