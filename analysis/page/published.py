"""The page's table of published results, each with its outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pandas as pd

from analysis.comparisons.labels import begin, count, density, percent
from analysis.figures.results.reached import NOT_COMPARABLE, NOT_REACHED, REACHED

NO_SOURCE = "without a source in the file"


def outcomes_in_words(compared: pd.DataFrame) -> str:
    """Count the outcomes of the rows of ``reached``."""
    counted = Counter(compared["outcome"])
    each = ", ".join(f"{counted[outcome]} {outcome}" for outcome in (REACHED, NOT_REACHED, NOT_COMPARABLE))
    return f"{count(len(compared), 'published result')}: {each}"


def published_series(compared: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each series of the rows of ``reached`` as text, those with a comparable result first.

    Returns:
        ``series``, ``source`` with remarks, and ``results``: density, published, ours and outcome of each result;
        incomparable results with one reason share a row.
    """
    ordered = compared.sort_values("outcome", key=lambda outcome: outcome == NOT_COMPARABLE, kind="stable")
    return [
        {
            "series": series,
            "source": "; ".join(
                text for text in (rows["source"].iloc[0] or NO_SOURCE, rows["remarks"].iloc[0]) if text
            ),
            "results": list(_results(rows)),
        }
        for series, rows in ordered.groupby("series", sort=False)
    ]


def _results(rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    shared = rows["why"].where(rows["outcome"] == NOT_COMPARABLE, rows.index.astype("str"))
    for _, alike in rows.groupby(shared, sort=False):
        first = alike.iloc[0]
        yield {
            "density": _ends([density(value) for value in alike["density"]]),
            "published": _ends([percent(value) for value in alike["published_percent"]]),
            "ours": "" if pd.isna(first["ours_percent"]) else percent(first["ours_percent"]),
            "outcome": f"{begin(first['outcome'])}: {first['why']}",
        }


def _ends(values: list[str]) -> str:
    return values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"
