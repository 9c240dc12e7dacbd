"""Read Parquet files that somebody else may have written: no row is read before the pages' values are counted.

Parquet packs any number of equal values into a few bytes, so that a file's size alone bounds nothing.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tickets.files.pages import MOST_FOOTER_BYTES, Chunk, read_chunks
from tickets.files.reading import UnreadableFileError, open_regular

_DAMAGE = (
    pa.ArrowException,
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

MOST_LETTERS = 1000  # of a text, as in a record
MOST_TEXT_BYTES = 64 << 20  # of a column's texts
MOST_BYTES_OF_A_NUMBER = 9  # and of its place in a list
MORE_BYTES = 1 << 20  # of a column, for what stands beside its values
READ_AT_ONCE_BYTES = 1 << 20  # pyarrow reads a buffer in a third of the time that it takes for a Python file


@dataclass(frozen=True)
class Bounds:
    """How much a file may hold.

    Attributes:
        most_rows: in a file of any size.
        free_values: allowed in a file of any size.
        values_per_byte: of a larger file's size.
        narrower: bounds of single columns, by name, besides those of all columns together.
    """

    most_rows: int
    free_values: int
    values_per_byte: int
    narrower: Mapping[str, Bounds] = field(default_factory=dict)

    def most_values(self, size_bytes: int) -> int:
        """The most values of a file with this size."""
        return max(self.free_values, self.values_per_byte * size_bytes)


ROWS = Bounds(most_rows=10_000_000, free_values=100_000, values_per_byte=20)
"""Of a table of results: a row of six values has a loss, whose eight bytes no encoding shortens."""


@contextmanager
def open_table(
    path: Path | str, columns: Sequence[str], bounds: Bounds, texts: Sequence[str] = (), content: bytes | None = None
) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file whose pages hold a bounded number of values in the columns to read.

    Args:
        columns: names of the columns to read.
        texts: columns to read as dictionaries, in which a text that occurs often lies once.
        content: what to read instead of the file, whose path messages name.

    Raises:
        UnreadableFileError: the file is no regular file, is damaged, or holds more than the bounds; also for errors of
            pyarrow while the file is read.
        OSError: the file is missing or cannot be opened.
    """
    with nullcontext(io.BytesIO(content)) if content is not None else open_regular(path) as opened:
        try:
            size_bytes = os.fstat(opened.fileno()).st_size if content is None else len(content)
            source: BinaryIO = opened
            if content is None and size_bytes <= READ_AT_ONCE_BYTES:
                source = io.BytesIO(opened.read(size_bytes))
            _check(path, read_chunks(source, size_bytes), columns, bounds, size_bytes)
            with pq.ParquetFile(
                pa.BufferReader(source.getvalue()) if isinstance(source, io.BytesIO) else source,
                read_dictionary=[*texts],
                thrift_string_size_limit=MOST_FOOTER_BYTES,
                thrift_container_size_limit=MOST_FOOTER_BYTES,
                page_checksum_verification=True,  # where the writer wrote checksums
            ) as file:
                rows = file.metadata.num_rows
                if not 0 <= rows <= bounds.most_rows:
                    raise UnreadableFileError(f"{path} claims {rows:,} rows, and at most {bounds.most_rows:,} are read")
                schema = file.schema_arrow
                if twice := [name for name in columns if len(schema.get_all_field_indices(name)) > 1]:
                    raise UnreadableFileError(f"{path} has the column {twice[0]} twice")
                yield file
        except UnreadableFileError:
            raise
        except _DAMAGE as error:
            raise UnreadableFileError(f"{path} is no readable Parquet file: {error}") from error


def read_each_row(path: Path | str, columns: Sequence[str], bounds: Bounds) -> pa.Table:
    """Read a table row by row: only while its own list is read does a value take 16 bytes of memory.

    Returns:
        A chunk per row, with those of the columns that the file has, and the file's metadata.

    Raises:
        UnreadableFileError: as ``open_table``; or the rows are larger than the pages say.
        OSError: the file is missing or cannot be opened.
    """
    with open_table(path, columns, bounds) as file:
        schema = file.schema_arrow
        present = pa.schema([field for field in schema if field.name in columns], schema.metadata)
        batches, left_bytes = [], MOST_TEXT_BYTES + 8 * bounds.most_values(Path(path).stat().st_size)
        # one thread, since readers of many tables have threads of their own
        for batch in file.iter_batches(1, columns=present.names, use_threads=False):
            batches.append(batch)
            left_bytes -= batch.nbytes
            if left_bytes < 0:
                raise UnreadableFileError(f"{path} unpacks to more values than its pages say")
        return pa.Table.from_batches(batches, present)


def read_rows(path: Path | str, schema: pa.Schema, optional: Collection[str], content: bytes | None = None) -> pa.Table:
    """Read a table of results.

    Args:
        optional: columns that may have empty values; if the file lacks one, all its values are empty.
        content: as for ``open_table``.

    Raises:
        UnreadableFileError: as ``open_table``; or a column is missing, of another type or has an empty value, or a text
            is too long.
        OSError: the file is missing or cannot be opened.
    """
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    with open_table(path, schema.names, ROWS, texts, content) as file:
        names = set(file.schema_arrow.names)
        if missing := [name for name in schema.names if name not in names and name not in optional]:
            raise UnreadableFileError(f"{path} lacks the columns {', '.join(missing)}")
        present = [name for name in schema.names if name in names]
        read = file.read(present, use_threads=False)
        columns = dict(zip(read.column_names, read.columns, strict=True))
        if empty := [name for name in present if columns[name].null_count and name not in optional]:
            raise UnreadableFileError(f"{path} has empty values in the columns {', '.join(empty)}")
        if any(_longest(columns[name]) > MOST_LETTERS for name in texts if name in present):
            raise UnreadableFileError(f"{path} holds a text of more than {MOST_LETTERS:,} letters")
        for field in schema:
            if field.name not in columns:
                columns[field.name] = pa.chunked_array([pa.nulls(read.num_rows, field.type)])
            elif columns[field.name].type != field.type:  # a cast to the same type takes time as well
                columns[field.name] = columns[field.name].cast(field.type)
        return pa.table([columns[name] for name in schema.names], schema)


def _check(path: Path | str, chunks: Iterable[Chunk], columns: Sequence[str], bounds: Bounds, size_bytes: int) -> None:
    """Refuse a file with more values, or larger ones, than are read."""
    values = Counter[str]()
    for chunk in chunks:
        if chunk.column in columns:
            values[chunk.column] += chunk.values
            most_bytes = MOST_TEXT_BYTES if chunk.texts else MOST_BYTES_OF_A_NUMBER * chunk.values + MORE_BYTES
            if chunk.unpacked_bytes > most_bytes:
                raise UnreadableFileError(
                    f"{path} has a column {chunk.column} of {chunk.values:,} values in {chunk.unpacked_bytes:,} bytes, "
                    f"and at most {most_bytes:,} bytes are read of so many"
                )
    narrower = [(f" of {name}", values[name], each) for name, each in bounds.narrower.items()]
    for what, number, bound in [("", values.total(), bounds), *narrower]:
        if number > (most := bound.most_values(size_bytes)):
            raise UnreadableFileError(
                f"{path} holds {number:,} values{what} in {size_bytes:,} bytes, and at most {most:,} are read of a "
                f"file of this size"
            )


def _longest(column: pa.ChunkedArray) -> int:
    """Letters, or bytes of UTF-8, of the longest text in a dictionary column, or more; 0 of any other column."""
    dictionaries = [chunk.dictionary for chunk in column.chunks if pa.types.is_dictionary(chunk.type)]
    return max((_most_letters(each) for each in dictionaries), default=0)


def _most_letters(texts: pa.Array) -> int:
    if texts.nbytes <= MOST_LETTERS:  # all together: no kernel has to look at each
        return texts.nbytes
    return pc.max(pc.binary_length(texts)).as_py() or 0
