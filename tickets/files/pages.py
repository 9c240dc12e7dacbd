"""Count the values in the pages of a Parquet file without decoding any.

pyarrow shows the footer only, whose numbers need not be those of the pages, and it ends the process over a column whose
path is none of the schema's. So this module reads footer and page headers itself: both are structs of Thrift's compact
protocol (github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md), whose fields parquet.thrift
numbers (github.com/apache/parquet-format).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

MAGIC = b"PAR1"
MOST_FOOTER_BYTES = 1 << 20
MOST_HEADER_BYTES = 1 << 14
MOST_PAGES = 100_000
_DEEPEST = 16
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 12
_INTEGERS = (5, 6, 4)
_LONGEST_INTEGER = 10  # bytes, of seven bits each
_TEXTS = (6, 7)  # BYTE_ARRAY and FIXED_LEN_BYTE_ARRAY of parquet.thrift's Type

Fields = Mapping[int, Any]
"""A struct's values by the numbers of their fields."""


@dataclass(frozen=True)
class Chunk:
    """One column in one row group.

    Attributes:
        column: name of the column, without what is nested in it.
        texts: whether its values are of any length.
        values: number of values in its pages, each of a list's counted.
        unpacked_bytes: size of its pages, decompressed.
    """

    column: str
    texts: bool
    values: int
    unpacked_bytes: int


def read_chunks(file: BinaryIO, size_bytes: int) -> Iterator[Chunk]:
    """Yield what a file's pages hold.

    Raises:
        ValueError: the footer or a page's header is damaged or too large.
    """
    file.seek(max(0, size_bytes - 8))
    end = file.read(8)
    footer_bytes = int.from_bytes(end[:4], "little")
    if end[4:] != MAGIC or footer_bytes > min(size_bytes, MOST_FOOTER_BYTES):
        raise ValueError(f"its footer is missing, or larger than {MOST_FOOTER_BYTES:,} bytes")
    file.seek(size_bytes - 8 - footer_bytes)
    pages = 0
    for group in _read_struct(file.read(footer_bytes))[0].get(4, ()):
        for column in group[1]:
            about = column[3]
            values = unpacked_bytes = 0
            for header in _page_headers(file, about):
                pages += 1
                values += _values(header)
                unpacked_bytes += header[2]
                if pages > MOST_PAGES:
                    raise ValueError(f"it has more than {MOST_PAGES:,} pages")
            yield Chunk(about[3][0].decode(), about[1] in _TEXTS, values, unpacked_bytes)


def _page_headers(file: BinaryIO, chunk: Fields) -> Iterator[Fields]:
    """Yield the headers of a chunk's pages, which follow each other."""
    start, dictionary = chunk[9], chunk.get(11, 0)
    at = dictionary if 0 < dictionary < start else start
    end = at + chunk[7] if at >= len(MAGIC) else at  # a chunk without values names no place of a data page
    while at < end:
        file.seek(at)
        header, header_bytes = _read_struct(file.read(MOST_HEADER_BYTES))
        at += header_bytes + header[3]
        if min(_values(header), header[2], header[3]) < 0:
            raise ValueError("it has a page of a negative size")
        yield header


def _values(header: Fields) -> int:
    """Number of values in a page; 0 for a dictionary or an index."""
    about = {0: 5, 3: 8}.get(header[1])  # data pages of version 1 and 2
    return int(header[about][1]) if about is not None else 0


# A report reads tens of thousands of files, and most of a file's time is spent here: so these functions take and return
# positions, and look at the bytes themselves.


def _read_struct(content: bytes) -> tuple[Fields, int]:
    """Read a struct of Thrift's compact protocol; return its fields, and its size in bytes.

    Raises:
        ValueError: the bytes are no struct.
    """
    try:
        return _struct(content, 0, 0)
    except IndexError:
        raise ValueError("it ends too early") from None


def _struct(content: bytes, at: int, depth: int) -> tuple[Fields, int]:
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    fields: dict[int, Any] = {}
    number = 0
    while (head := content[at]) != _STOP:
        at += 1
        if head > 15:
            number += head >> 4
        else:
            number, at = _integer(content, at)
        kind = head & 15
        if kind in _INTEGERS:
            value = content[at]
            if value > 127:
                value, at = _unsigned(content, at)
            else:
                at += 1
            fields[number] = (value >> 1) ^ -(value & 1)
        elif kind == _STRUCT:
            fields[number], at = _struct(content, at, depth + 1)
        elif kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        else:
            fields[number], at = _value(content, at, kind, depth)
    return fields, at + 1


def _value(content: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in _INTEGERS:
        return _integer(content, at)
    if kind == _BINARY:
        size, at = _unsigned(content, at)
        return _bytes(content, at, size)
    if kind == _STRUCT:
        return _struct(content, at, depth + 1)
    if kind == _LIST and depth < _DEEPEST:
        head = content[at]
        count, at = (head >> 4, at + 1) if head >> 4 < 15 else _unsigned(content, at + 1)
        values = []
        for _ in range(count):
            value, at = _value(content, at, head & 15, depth + 1)
            values.append(value)
        return values, at
    if kind in (_TRUE, _FALSE, _BYTE):  # a truth value in a list is a byte
        return content[at], at + 1
    if kind == _DOUBLE:
        return _bytes(content, at, 8)
    raise ValueError(f"it has a value of type {kind}")  # a set, a map, or no type: parquet.thrift uses none


def _integer(content: bytes, at: int) -> tuple[int, int]:
    """Read a number whose last bit is its sign ("zigzag")."""
    value = content[at]
    if value > 127:
        value, at = _unsigned(content, at)
    else:
        at += 1
    return (value >> 1) ^ -(value & 1), at


def _unsigned(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_LONGEST_INTEGER):
        byte = content[at + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise ValueError("it has a number of more than 64 bits")


def _bytes(content: bytes, at: int, size: int) -> tuple[bytes, int]:
    end = at + size
    if end > len(content):
        raise ValueError("it ends too early")
    return content[at:end], end
