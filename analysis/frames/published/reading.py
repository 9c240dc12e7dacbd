"""Read published results, to show beside a store's: those of the package (series.csv) and those of a user's file.

The header has ``NEEDED`` and any of ``OPTIONAL``; docs/report.md says what each column means. Data sets, architectures
and methods have the store's names; density is the surviving share of the prunable weights.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from tickets.files.reading import read_regular

SHIPPED = Path(__file__).with_name("series.csv")
NEEDED = ("dataset", "architecture", "series", "density", "accuracy_percent")
# a series' settings, as analysis.frames.published.protocols has ours
SETTINGS = (
    "optimizer",
    "learning_rate",
    "momentum",
    "weight_decay",
    "batch_size",
    "schedule",
    "epochs",
    "training_share",
    "image_size",
)
_TEXTS = ("source", "kind", "method", "optimizer", "schedule", "density_counts", "note")
_MAY_BE_ZERO = ("sd_points", "momentum", "weight_decay", "unpruned_percent")
_NUMBERS = (*_MAY_BE_ZERO, "n", "learning_rate", "batch_size", "epochs", "training_share", "image_size", "test_images")
_AT_MOST = {"sd_points": 100.0, "momentum": 1.0, "training_share": 1.0, "unpruned_percent": 100.0}
_COUNTS = ("test_images", "density_counts", "unpruned_percent")
OPTIONAL = ("source", "kind", "method", "sd_points", "n", *SETTINGS, *_COUNTS, "note")
COLUMNS = (*NEEDED, *OPTIONAL)
_EXPECTED = f"the columns are {', '.join(NEEDED)} and optionally {', '.join(OPTIONAL[:-1])} and {OPTIONAL[-1]}"
_TYPES = {**dict.fromkeys(COLUMNS, "float64"), **dict.fromkeys((*NEEDED[:3], *_TEXTS), "str")}
_SERIES = ["dataset", "architecture", "series"]


class PublishedError(ValueError):
    """A file of published results is invalid; the message is one sentence that names file and line."""


def no_published() -> pd.DataFrame:
    """Return an empty frame with ``COLUMNS``."""
    return pd.DataFrame(columns=list(COLUMNS)).astype(_TYPES)


def published_beside(added: pd.DataFrame | None) -> pd.DataFrame:
    """Return the package's published results and those of a user's file, whose series replace ours of the same name."""
    shipped = read_published(SHIPPED)
    if added is None:
        return shipped
    names = pd.MultiIndex.from_frame(added[_SERIES])
    kept = shipped[~pd.MultiIndex.from_frame(shipped[_SERIES]).isin(names)]
    return pd.concat([kept, added], ignore_index=True).sort_values([*_SERIES, "density"], ignore_index=True)


def read_published(path: Path) -> pd.DataFrame:
    """Read a file's results, sorted by data set, architecture and series, sparsest first.

    Returns:
        ``COLUMNS``: ``density`` in (0, 1], ``accuracy_percent`` in percent; what the file leaves out is empty or NaN.

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
    return frame.sort_values([*_SERIES, "density"], ignore_index=True)


def check_fits(published: pd.DataFrame, stages: pd.DataFrame, path: Path) -> None:
    """Check that at least one published result of a user's file has a data set and architecture of the store.

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
        row = _checked({name: value.strip() for name, value in line.items()}, place)
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
    numbers = {name: _number(line[name]) for name in _NUMBERS if line.get(name)}
    for name, number in numbers.items():
        most = _AT_MOST.get(name, sys.float_info.max)
        if not (0 < number <= most or (number == 0 and name in _MAY_BE_ZERO)):
            least = "of at least 0" if name in _MAY_BE_ZERO else "above 0"
            ends = f"{least} and at most {most:g}" if name in _AT_MOST else least
            raise PublishedError(f"{place}: {name} is a number {ends}, not {line[name]!r}; {_EXPECTED}")
    texts = {name: value for name, value in line.items() if name not in _NUMBERS}
    return {**dict.fromkeys(_TEXTS, ""), **texts, **numbers, "density": density, "accuracy_percent": accuracy}


def _number(text: str) -> float:
    """Parse a number; other text gives NaN, which is in no range."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
