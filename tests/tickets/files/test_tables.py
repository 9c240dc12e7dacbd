"""Parquet files that unpack to far more than they are: refused before a row is read, by what their pages hold."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tickets.errors import TicketError
from tickets.files.columns import SCHEMA, read_columns
from tickets.files.pages import read_chunks
from tickets.files.reading import UnreadableFileError
from tickets.files.tables import read_rows

OPTIONAL = ("split", "loss_nats")
ROWS = pa.schema({"epoch": pa.int64(), "split": pa.string(), "loss_nats": pa.float64()})


def zeros(path: Path, weights: int, tensors: int = 1) -> Path:
    """A ticket of a few thousand bytes, whose signs are all zero."""
    offsets = pa.array(np.arange(tensors + 1, dtype=np.int32) * weights)
    columns = {
        "name": [f"layer{number}.weight" for number in range(tensors)],
        "shape": [[weights]] * tensors,
        "role": ["prunable"] * tensors,
        "sign": pa.ListArray.from_arrays(offsets, pa.array(np.zeros(weights * tensors, np.int8))),
        "surviving_zeros": [[]] * tensors,
    }
    pq.write_table(pa.table(columns, schema=SCHEMA), path, compression="zstd")
    return path


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small file with more weights than a network without any survivor may have."""
    content = zeros(tmp_path_factory.mktemp("bomb") / "t.parquet", 55_000_000, 2).read_bytes()
    assert len(content) < 9000
    return content


def test_a_small_ticket_of_many_zeros_is_refused_before_it_is_read(tmp_path: Path, bomb: bytes) -> None:
    (tmp_path / "t.parquet").write_bytes(bomb)
    with pytest.raises(
        TicketError, match=r"holds 110,000,008 values in [\d,]+ bytes, and at most 100,000,000 are read"
    ):
        read_columns(tmp_path / "t.parquet")


def test_a_layer_of_zeros_that_real_networks_have_is_read(tmp_path: Path) -> None:
    columns = read_columns(zeros(tmp_path / "t.parquet", 300_000, 3))
    assert columns.sizes.tolist() == [300_000] * 3
    assert not columns.sign.any()


def test_pages_are_counted_and_not_what_the_footer_claims(tmp_path: Path, bomb: bytes) -> None:
    path, count = tmp_path / "t.parquet", varint(2 * 110_000_000)  # zigzag
    start = len(bomb) - 8 - int.from_bytes(bomb[-8:-4], "little")
    path.write_bytes(bomb[:start] + bomb[start:].replace(count, b"\x82\x80\x80\x00"))
    assert pq.ParquetFile(path).metadata.row_group(0).column(3).num_values == 1
    with pytest.raises(TicketError, match=r"holds 1\d\d,\d+,\d+ values"):
        read_columns(path)


def varint(number: int) -> bytes:
    """A number as Thrift's compact protocol writes it: seven bits in a byte."""
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def test_the_counted_values_are_those_that_pyarrow_wrote(tmp_path: Path) -> None:
    rng = random.Random(0)
    lists = [[rng.random() for _ in range(rng.randrange(5))] for _ in range(500)]
    table = pa.table({"a": range(500), "b": lists, "c": [None, "x"] * 250})
    for version in ("1.0", "2.0"):
        pq.write_table(table, tmp_path / "t.parquet", row_group_size=150, data_page_size=200, data_page_version=version)
        content = (tmp_path / "t.parquet").read_bytes()
        footer = pq.ParquetFile(tmp_path / "t.parquet").metadata
        groups = [footer.row_group(group).column(column) for group in range(4) for column in range(3)]
        chunks = list(read_chunks(io.BytesIO(content), len(content)))
        assert [(chunk.column, chunk.values) for chunk in chunks] == [
            (group.path_in_schema.split(".")[0], group.num_values) for group in groups
        ]


def test_a_name_of_megabytes_is_refused(tmp_path: Path) -> None:
    name = "n" * 80_000_000
    columns = {"name": [name], "shape": [[1]], "role": ["bias"], "sign": [[1]], "surviving_zeros": [[]]}
    pq.write_table(pa.table(columns, schema=SCHEMA), tmp_path / "t.parquet")
    with pytest.raises(TicketError, match="column name of 1 values"):
        read_columns(tmp_path / "t.parquet")
    columns["name"] = ["n" * 2000]
    pq.write_table(pa.table(columns, schema=SCHEMA), tmp_path / "t.parquet")
    with pytest.raises(TicketError, match=r"n… is a name of more than 1,000 letters"):
        read_columns(tmp_path / "t.parquet")


@pytest.mark.parametrize("shape", [[2**32, 2**32, 0], [2**33, 2**31], [1] * 40, [-1, -1], [2**62, 4]])
def test_a_shape_that_no_tensor_has_is_refused(tmp_path: Path, shape: list[int]) -> None:
    columns = {"name": ["w"], "shape": [shape], "role": ["bias"], "sign": [[]], "surviving_zeros": [[]]}
    pq.write_table(pa.table(columns, schema=SCHEMA), tmp_path / "t.parquet")
    with pytest.raises(TicketError, match="w: "):
        read_columns(tmp_path / "t.parquet")


def test_positions_of_surviving_zeros_are_bounded(tmp_path: Path) -> None:
    table = pq.read_table(zeros(tmp_path / "t.parquet", 5_000_000))
    positions = pa.ListArray.from_arrays([0, 5_000_000], np.zeros(5_000_000, np.int64))
    table = table.set_column(4, SCHEMA.field(4), positions)
    pq.write_table(table, tmp_path / "t.parquet", compression="zstd")
    with pytest.raises(
        TicketError, match=r"holds 5,000,000 values of surviving_zeros in [\d,]+ bytes, and at most 1,000,"
    ):
        read_columns(tmp_path / "t.parquet")


def test_rows_of_results_are_bounded_too(tmp_path: Path) -> None:
    path = tmp_path / "metrics.parquet"
    pq.write_table(pa.table({"epoch": np.zeros(5_000_000, np.int64)}), path)
    with pytest.raises(UnreadableFileError, match=r"holds 5,000,000 values in [\d,]+ bytes, and at most"):
        read_rows(path, ROWS, OPTIONAL)


def test_a_long_text_that_many_rows_share_is_refused(tmp_path: Path) -> None:
    split = pa.DictionaryArray.from_arrays(np.zeros(20_000, np.int32), ["s" * 100_000])
    pq.write_table(pa.table({"epoch": np.zeros(20_000, np.int64), "split": split}), tmp_path / "metrics.parquet")
    with pytest.raises(UnreadableFileError, match="a text of more than 1,000 letters"):
        read_rows(tmp_path / "metrics.parquet", ROWS, OPTIONAL)


def test_rows_are_read_with_the_schemas_types_and_missing_optional_columns_are_empty(tmp_path: Path) -> None:
    pq.write_table(pa.table({"split": ["train", None], "epoch": pa.array([1, 2], pa.int32())}), tmp_path / "m.parquet")
    table = read_rows(tmp_path / "m.parquet", ROWS, OPTIONAL)
    assert table.schema == ROWS
    assert table.to_pydict() == {"epoch": [1, 2], "split": ["train", None], "loss_nats": [None, None]}


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"other": [1]}),
        pa.table({"Epoch": [1], "loss_nats": [0.5]}),
        pa.table({"epoch": pa.array([1, None])}),
        pa.table({"epoch": ["one"]}),
        pa.table({"epoch": [[1, 2]]}),
        pa.table([pa.array([1]), pa.array([2])], names=["epoch", "epoch"]),
    ],
    ids=["no column", "renamed", "empty value", "texts", "lists", "twice"],
)
def test_files_with_other_columns_are_no_rows(tmp_path: Path, table: pa.Table) -> None:
    pq.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(UnreadableFileError, match=r"m\.parquet "):
        read_rows(tmp_path / "m.parquet", ROWS, OPTIONAL)


def test_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.parquet")
    with pytest.raises(UnreadableFileError, match="a named pipe"):
        read_rows(tmp_path / "t.parquet", ROWS, OPTIONAL)
    with pytest.raises(TicketError, match="a named pipe"):
        read_columns(tmp_path / "t.parquet")


def test_no_damaged_footer_ends_the_process(tmp_path: Path) -> None:
    """pyarrow aborts when a column's metadata is asked for whose path is none of the schema's."""
    zeros(tmp_path / "t.parquet", 30, 2)
    code = f"""
from pathlib import Path
from tickets.errors import TicketError
from tickets.files.columns import read_columns
path = Path({str(tmp_path / "t.parquet")!r})
content = path.read_bytes()
start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
for at in range(start, len(content)):
    path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1:])
    try:
        read_columns(path)
    except TicketError:
        pass
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "done\n", done.stderr[-2000:]
