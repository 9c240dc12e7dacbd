"""All numbers that the figures of a section draw, as one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.comparisons.labels import count, mean_sd, rank
from analysis.comparisons.measures import MEASURES
from analysis.comparisons.statistics import spread
from analysis.frames.sections import Section

SUMMARY = ("mean", "sd", "low", "high", "trainings", "chains", "keys")


def numbers(section: Section) -> pd.DataFrame:
    """Return one row per round, method and transfer: dense on top, then the sparsest first.

    Returns:
        ``round``, ``method``, ``transfer``, ``density``, and for each of accuracy (percent), barrier and stability
        (points) ``{measure}_mean``, ``_sd``, ``_low``, ``_high``, ``_trainings``, ``_chains``, ``_keys``: see
        ``spread``.
    """
    by = ["round", "method", "transfer"]
    table = pd.DataFrame({"round": pd.Series(dtype="Int64"), "method": "", "transfer": "", "density": 0.0})
    for measure in MEASURES:
        cells = spread(measure.rows(section), by, measure.column)[[*by, "density", *SUMMARY]].rename(
            columns={name: f"{measure.name}_{name}" for name in SUMMARY}
        )
        table = table.merge(cells, on=by, how="outer", suffixes=("", "_more"))
        table["density"] = table["density"].fillna(table.pop("density_more"))
    table = table.sort_values(["method", "transfer"], key=lambda names: names.fillna("").map(rank), kind="stable")
    return table.sort_values("round", ascending=False, na_position="first", kind="stable", ignore_index=True)


def measured(row: Mapping[Any, Any], measure: str) -> str:
    """Write a measure of a row of ``numbers``: mean ± standard deviation (n, chains); empty if unknown."""
    if pd.isna(row[f"{measure}_mean"]):
        return ""
    n, chains = int(row[f"{measure}_trainings"]), int(row[f"{measure}_chains"])
    over = f"{n} in {count(chains, 'chain')}" if chains else str(n)
    return f"{mean_sd(row[f'{measure}_mean'], row[f'{measure}_sd'])} ({over})"
