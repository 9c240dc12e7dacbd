"""All stages as one JSON value: the page's table, a point's details and the CSV download come from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pandas as pd

from analysis.comparisons.statistics import KEY_DIGITS
from analysis.frames.load import Frames

STAGES = "stages"
"""A store's folder of stages."""


def stage_data(frames: Frames, link: Callable[[str], str]) -> dict[str, Any]:
    """Return the stages as columns of JSON values.

    Args:
        link: turns a path in the store into the address that the page links to.

    Returns:
        ``base``: the address that ``folder`` is relative to, quoted; ``columns``: by name, a list with one entry per
        stage, or, if values repeat often, ``{"values": [...], "codes": [...]}`` with positions in ``values``, or -1
        for a missing value. Keys are cut to their first 16 digits, as in figures.
    """
    stages = frames.stages.sort_values("name")
    folders = stages["folder"].str.removeprefix(f"{STAGES}/")
    columns = stages.assign(key=stages["key"].str[:KEY_DIGITS], folder=folders)
    return {
        "base": quote(link(STAGES), safe="/:"),
        "columns": {str(name): _column(columns[name]) for name in columns.columns},
    }


def _column(values: pd.Series) -> list[Any] | dict[str, list[Any]]:
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    cells = [_cell(value) for value in values]
    try:
        codes, distinct = pd.factorize(pd.Series(cells, dtype=object))
    except TypeError:  # a result that is a list or a mapping
        return cells
    if len(distinct) * 3 > len(cells):
        return cells
    return {"values": list(distinct), "codes": codes.tolist()}


def _cell(value: Any) -> Any:
    """Turn a value into JSON: missing values and numbers that are not finite become null."""
    if isinstance(value, list | dict):
        return value
    if value is None or pd.isna(value) or value in (float("inf"), float("-inf")):
        return None
    return value.item() if hasattr(value, "item") else value
