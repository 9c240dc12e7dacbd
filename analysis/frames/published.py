"""Read published results from a user's CSV file, to draw beside a store's results.

The header is dataset, architecture, series, density, accuracy_percent and optionally source. Data sets and
architectures have the store's names; density is the surviving share of the prunable weights.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from tickets.files.reading import read_regular

NEEDED = ("dataset", "architecture", "series", "density", "accuracy_percent")
COLUMNS = (*NEEDED, "source")
_EXPECTED = f"the columns are {', '.join(NEEDED)} and optionally source"
_TYPES = {**dict.fromkeys(COLUMNS, "str"), "density": "float64", "accuracy_percent": "float64"}


class PublishedError(ValueError):
    """A file of published results is invalid; the message is one sentence that names file and line."""


def no_published() -> pd.DataFrame:
    """Return an empty frame with ``COLUMNS``."""
    return pd.DataFrame(columns=list(COLUMNS)).astype(_TYPES)


def read_published(path: Path) -> pd.DataFrame:
    """Read a file's results, sorted by data set, architecture and series, sparsest first.

    Returns:
        ``COLUMNS``: ``density`` in (0, 1], ``accuracy_percent`` in percent, ``source`` empty if not given.

    Raises:
        PublishedError: the file is no CSV, or a column, a value or all lines are missing, out of range, or repeated.
        OSError: the file cannot be read.
    """
    try:
        text = read_regular(path).decode("utf-8-sig")
        rows = list(_rows(io.StringIO(text, newline=""), path))
    except (UnicodeDecodeError, csv.Error) as error:
        raise PublishedError(f"{path} is not a CSV file ({error}); {_EXPECTED}") from error
    if not rows:
        raise PublishedError(f"{path} has no line below its header; {_EXPECTED}")
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(_TYPES)
    return frame.sort_values(["dataset", "architecture", "series", "density"], ignore_index=True)


def check_fits(published: pd.DataFrame, stages: pd.DataFrame, path: Path) -> None:
    """Check that at least one published result has a data set and architecture of the store.

    Raises:
        PublishedError: no result has, so that the file would change nothing.
    """
    by = ["dataset", "architecture"]
    settings = stages[by].drop_duplicates()
    if not published.merge(settings, on=by).empty or settings.empty:
        return
    has = ", ".join(sorted(f"{dataset} with {architecture}" for dataset, architecture in settings.to_numpy()))
    raise PublishedError(f"{path}: no result is for a data set and architecture of this store, which has {has}")


def _rows(file: Iterator[str], path: Path) -> Iterator[dict[str, str | float]]:
    lines = csv.DictReader(file, skipinitialspace=True, strict=True)
    header = lines.fieldnames or ()
    if not set(NEEDED) <= set(header) <= set(COLUMNS) or len(set(header)) < len(header):
        raise PublishedError(f"{path}, line 1: the header is {', '.join(header) or 'empty'!r}; {_EXPECTED}")
    lines_of: dict[tuple[str | float, ...], int] = {}
    for line in lines:
        place = f"{path}, line {lines.line_num}"
        if None in line or None in line.values():
            raise PublishedError(f"{place} has more or fewer values than the header; {_EXPECTED}")
        row = {"source": "", **_checked({name: value.strip() for name, value in line.items()}, place)}
        point = tuple(row[name] for name in NEEDED[:4])
        if point in lines_of:
            raise PublishedError(f"{place} gives the series and density of line {lines_of[point]} again; {_EXPECTED}")
        lines_of[point] = lines.line_num
        yield row


def _checked(line: dict[str, str], place: str) -> dict[str, str | float]:
    empty = [name for name in NEEDED if not line[name]]
    if empty:
        raise PublishedError(f"{place}: {', '.join(empty)} is empty; {_EXPECTED}")
    density, accuracy = (_number(line[name]) for name in ("density", "accuracy_percent"))
    if not 0 < density <= 1:
        raise PublishedError(f"{place}: density must be above 0 and at most 1, not {line['density']!r}; {_EXPECTED}")
    if not 0 <= accuracy <= 100:
        raise PublishedError(
            f"{place}: accuracy_percent must be a number from 0 to 100, not {line['accuracy_percent']!r}; {_EXPECTED}"
        )
    return {**line, "density": density, "accuracy_percent": accuracy}


def _number(text: str) -> float:
    """Parse a number; other text gives NaN, which is in no range."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
