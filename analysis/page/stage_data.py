"""All stages as one columnar value: the page makes its table, a point's details and the CSV file from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pandas as pd

from analysis.comparisons.statistics import KEY_DIGITS
from analysis.frames.load import Frames

STAGES = "stages"
"""The folder of a store in which all stages lie."""


def stage_data(frames: Frames, link: Callable[[str], str]) -> dict[str, Any]:
    """Columns by name, as JSON can hold them.

    Args:
        link: from a path in the store to what the page links to.

    Returns:
        ``base``: what ``folder`` is relative to, quoted for an address; ``columns``: each a list with one entry per
        stage, or, where few values repeat, ``{"values": [...], "codes": [...]}`` with positions in ``values`` and -1
        for none. Keys have their first 16 digits, as in figures.
    """
    stages = frames.stages.sort_values("name")
    folders = stages["folder"].str.removeprefix(f"{STAGES}/")
    shown = stages.assign(key=stages["key"].str[:KEY_DIGITS], folder=folders)
    return {
        "base": quote(link(STAGES), safe="/:"),
        "columns": {str(name): _column(shown[name]) for name in shown.columns},
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
    """A value of JSON: none is null, and so is a number that is not finite."""
    if isinstance(value, list | dict):
        return value
    if value is None or pd.isna(value) or value in (float("inf"), float("-inf")):
        return None
    return value.item() if hasattr(value, "item") else value
