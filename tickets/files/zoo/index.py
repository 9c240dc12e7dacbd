"""What a zoo says of its tickets: the index, one row per ticket, and the SHA-256 of every file.

The index is plain Parquet: ``pandas.read_parquet("zoo/index.parquet")`` needs nothing of this project.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tickets.errors import TicketError
from tickets.files.reading import read_regular
from tickets.files.tables import read_rows

INDEX, SUMS = "index.parquet", "SHA256SUMS"
STARTS = ("retrain", "signed")
"""The starts whose accuracies an index has."""
_SUM = re.compile(r"([0-9a-f]{64})  (.+)")
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_PATH = re.compile(rf"{_PART}(/{_PART}){{0,20}}")


def _accuracy(start: str) -> dict[str, pa.DataType]:
    percents = dict.fromkeys((f"{start}_{part}_percent" for part in ("accuracy", "mean", "low", "high")), pa.float64())
    return {**percents, f"{start}_chains": pa.int64()}


_TEXTS = ("name", "dataset", "architecture", "preset", "method")
ACCURACIES = {name: kind for start in STARTS for name, kind in _accuracy(start).items()}
SCHEMA = pa.schema(
    {
        **dict.fromkeys(_TEXTS, pa.string()),
        **dict.fromkeys(("chain", "round"), pa.int64()),
        "density": pa.float64(),
        **ACCURACIES,
        **dict.fromkeys(("key", "data_fingerprint", "licence", "path", "sha256"), pa.string()),
        "size_bytes": pa.int64(),
    }
)
"""Columns of an index.

``name`` is the stage's, ``key`` its key. For each of ``STARTS``: ``_accuracy_percent`` is the test accuracy of this
ticket's final trainings, the mean over their seeds; ``_mean_percent`` the mean over the ``_chains`` of its method and
round, with the 95 % t interval from ``_low_percent`` to ``_high_percent``. A number that was not measured is missing,
and so is the interval of a single chain. ``path`` is the ticket's file within the zoo.
"""
OPTIONAL = frozenset(ACCURACIES) | {"data_fingerprint"}


@dataclass(frozen=True)
class Entry:
    """What finds a ticket in a zoo, and identifies its file; the names are those of the index."""

    name: str
    key: str
    architecture: str
    chain: int
    round: int
    data_fingerprint: str | None
    path: str
    sha256: str


def read_index(path: Path) -> list[Entry]:
    """Read an index.

    Raises:
        UnreadableFileError: the file is no index.
        TicketError: it names a file that could lie outside the zoo.
        OSError: the file is missing or cannot be opened.
    """
    fields = list(Entry.__dataclass_fields__)
    table = read_rows(path, SCHEMA, OPTIONAL).select(fields)
    entries = [Entry(**row) for row in table.to_pylist()]
    for entry in entries:
        check_path(entry.path)
    return entries


def read_sums(path: Path) -> Mapping[str, str]:
    """Read SHA-256 by path, from a file as ``sha256sum`` writes and checks it.

    Raises:
        TicketError: a line is no digest with a path within the zoo.
        OSError: the file is missing or cannot be opened.
    """
    sums = {}
    for line in read_regular(path).decode(errors="replace").splitlines():
        match = _SUM.fullmatch(line)
        if match is None:
            raise TicketError(f"{path} has the line {line[:80]!r}, which is no SHA-256 with a path")
        sums[check_path(match[2])] = match[1]
    return sums


def check_path(path: str) -> str:
    """Return a path within a zoo; TicketError if it could lead out of it."""
    if not _PATH.fullmatch(path):
        raise TicketError(f"{path[:80]!r} is no path within a zoo")
    return path
