"""Mutations of Parquet and safetensors files that stay readable: columns, types, sizes, names and metadata."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.fuzz.mutations.fields import any_value, change_json

HUGE_ROWS, HUGE_GROUPS = 2_000_000, 100
"""Rows of zeros in a group, and groups: a small file that becomes gigabytes when it is read."""
TYPES = (
    *(pa.string(), pa.int8(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(), pa.binary(), pa.date32(), pa.null()),
    *(pa.timestamp("ns"), pa.decimal128(20, 3), pa.list_(pa.float64()), pa.large_string(), pa.uint64()),
)


def change_columns(path: Path, draw: Random) -> str:
    """Remove, rename, retype, repeat or refill columns and rows of a Parquet file."""
    table = pq.ParquetFile(path).read()
    position = draw.randrange(table.num_columns)
    name, column = table.column_names[position], table.column(position)
    act = draw.choice(
        ["remove", "rename", "retype", "nulls", "twice", "values", "values", "values", "rows", "no rows", "none"]
    )
    if act == "remove":
        table = table.remove_column(position)
    elif act == "rename":
        names = [*table.column_names]
        names[position] = draw.choice(["", name.upper(), "x" * 10_000, "a\0b", table.column_names[0]])
        table = table.rename_columns(names)
    elif act == "retype":
        kind = draw.choice(TYPES)
        table = table.set_column(position, name, _as_type(column, kind))
        act = f"retype to {kind}:"
    elif act == "nulls":
        table = table.set_column(position, name, pa.nulls(len(column), column.type))
    elif act == "twice":
        table = table.append_column(name, column)
    elif act == "values":
        table = table.set_column(position, name, _refilled(column, draw))
    elif act == "rows":
        table = pa.concat_tables([table] * draw.choice([2, 1000]))
    elif act == "no rows":
        table = table.slice(0, 0)
    else:
        table = table.select([]) if draw.random() < 0.5 else table.select([position])
    pq.write_table(table, path)
    return f"{act} {name}"


def _as_type(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.nulls(len(column), kind)


def _refilled(column: pa.ChunkedArray, draw: Random) -> pa.Array | pa.ChunkedArray:
    """The column with one value, or all, replaced by what its type barely allows."""
    values: list[Any] = column.to_pylist()
    for place in range(len(values)) if draw.random() < 0.3 else draw.sample(range(len(values)), min(1, len(values))):
        value = any_value(draw, values[place])
        if isinstance(values[place], list) and values[place] and draw.random() < 0.7:
            value = [*values[place]]
            value[draw.randrange(len(value))] = any_value(draw, value[0])
        values[place] = value
    try:
        return pa.array(values, column.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        number = draw.choice([float("nan"), float("inf"), -1.0, 1e308, 0.0])
        try:
            return pa.array([number] * len(values), pa.float64()).cast(column.type, safe=False)
        except pa.ArrowException:
            return pa.array([draw.choice(["", "a" * 100_000, "\0"])] * len(values))


def change_metadata(path: Path, draw: Random) -> str:
    """Change what a Parquet file says of itself: a ticket's provenance stands there."""
    table = pq.ParquetFile(path).read()
    metadata = dict(table.schema.metadata or {b"provenance": b"{}"})
    key = draw.choice(sorted(metadata))
    try:
        metadata[key], said = change_json(metadata[key], draw)
    except ValueError:
        metadata[key], said = str(any_value(draw, "x")).encode(errors="replace"), "replaced"
    act = draw.choice(["keep", "keep", "keep", "bytes", "remove", "long"])
    if act == "bytes":
        metadata[key] = b"\xff\xfe" + metadata[key][:20]
    elif act == "remove":
        del metadata[key]
    elif act == "long":
        metadata[key] = b"[" * draw.choice([5_000, 20_000_000])
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return f"metadata {key.decode()[:30]!r}: {said if act == 'keep' else act}"


def many_rows(path: Path, draw: Random) -> str:
    """Repeat the first row of a Parquet file, with the longest lists that fit, until reading it takes gigabytes."""
    table = pq.ParquetFile(path).read().slice(0, 1)
    groups = draw.choice([HUGE_GROUPS // 10, HUGE_GROUPS])
    columns = []
    for column in table.columns:
        if pa.types.is_list(column.type) and draw.random() < 0.5:
            items = _zeros(HUGE_ROWS, column.type.value_type)
            columns.append(pa.ListArray.from_arrays([0, HUGE_ROWS], items).cast(column.type))
        else:
            columns.append(column.combine_chunks())
    long = any(pa.types.is_list(column.type) and len(column.flatten()) == HUGE_ROWS for column in columns)
    rows = 1 if long else HUGE_ROWS // 10
    group = pa.table(
        [column.take(pa.array([0] * rows)) if len(column) else column for column in columns], schema=table.schema
    )
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(groups):
            writer.write_table(group)
    return f"{groups} groups of {rows} rows{' of long lists' if long else ''}"


def _zeros(count: int, kind: pa.DataType) -> pa.Array:
    return (
        pa.nulls(count, kind).fill_null(False if pa.types.is_boolean(kind) else 0)
        if kind != pa.string()
        else pa.array([""] * count)
    )


def change_footer(path: Path, draw: Random) -> str:
    """Change the length of a Parquet footer, or bytes of the footer."""
    content = bytearray(path.read_bytes())
    if len(content) < 12:
        return "too short to change"
    [length] = struct.unpack("<I", content[-8:-4])
    if draw.random() < 0.3:
        other = draw.choice([0, 1, length - 1, length + 1, 2**31, 2**32 - 1])
        content[-8:-4] = struct.pack("<I", other)
        said = f"footer of {other} bytes"
    else:
        for _ in range(draw.randint(1, 6)):
            place = draw.randrange(max(0, len(content) - 8 - length), len(content) - 8)
            content[place] = draw.choice([0, 0xFF, 0x7F, draw.randrange(256)])
        said = "bytes of the footer changed"
    path.write_bytes(content)
    return said


def change_header(path: Path, draw: Random) -> str:
    """Change the header of a safetensors file: names, types, shapes, offsets, or its length."""
    content = path.read_bytes()
    [length] = struct.unpack("<Q", content[:8])
    header, rest = content[8 : 8 + length], content[8 + length :]
    if draw.random() < 0.2:
        other = draw.choice([0, 1, length - 1, 10**9, 2**63, 2**64 - 1])
        path.write_bytes(struct.pack("<Q", other) + header + rest)
        return f"header of {other} bytes"
    if draw.random() < 0.4:
        fields = json.loads(header)
        name = draw.choice(sorted(fields))
        part = draw.choice(["shape", "dtype", "data_offsets"])
        if isinstance(fields[name], dict) and part in fields[name]:
            bad: dict[str, list[Any]] = {
                "shape": [[], [0], [-1], [2**40, 2**40], [1] * 100, [10**10]],
                "dtype": ["F64", "BOOL", "F8_E4M3", "I64", "X", ""],
                "data_offsets": [[0, 0], [0, 2**60], [8, 4], [0, len(rest)], []],
            }
            fields[name][part] = draw.choice(bad[part])
        changed, said = json.dumps(fields).encode(), f"{part} of {name}"
    else:
        changed, said = change_json(header, draw)
    path.write_bytes(struct.pack("<Q", len(changed)) + changed + rest)
    return said


def change_numbers(path: Path, draw: Random) -> str:
    """Change the numbers in a safetensors file: NaN, infinity, zeros, huge ones; its form stays."""
    content = bytearray(path.read_bytes())
    [length] = struct.unpack("<Q", content[:8])
    start = 8 + length
    for _ in range(draw.choice([1, 20])):
        place = start + 4 * draw.randrange(max(1, (len(content) - start) // 4))
        content[place : place + 4] = struct.pack("<f", draw.choice([float("nan"), float("inf"), 0.0, 3e38, -1.0]))[
            : len(content) - place
        ]
    path.write_bytes(content)
    return "numbers changed"
