"""Density of each layer after each round: pruning is global, so layers differ."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import method_name, number, rank
from analysis.figures.heat import layers_by_round, logarithmic
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections


def density_by_layer(frames: Frames) -> go.Figure:
    """Draw the surviving percentage of each prunable layer by round, mean over chains.

    One panel per section and method; no traces without a ticket.
    """
    parts = {part.title: _layers(part) for part in sections(frames)}
    parts = {title: rows for title, rows in parts.items() if not rows.empty}
    values = pd.concat([rows["value"] for rows in parts.values()]) if parts else pd.Series(dtype="float64")
    summary = " ".join(_summary(title, rows) for title, rows in parts.items()) or "There is no ticket yet."
    return layers_by_round(parts, "surviving weights (%)", summary, "chain", logarithmic(values))


def _layers(section: Section) -> pd.DataFrame:
    rows = section.frames.tickets
    rows = rows[(rows["role"] == "prunable") & rows["method"].notna() & rows["round"].notna()]
    totals = rows.groupby("key")[["surviving", "weights"]].transform("sum")
    return rows.assign(value=100 * rows["density"], density=totals["surviving"] / totals["weights"])


def _summary(title: str, rows: pd.DataFrame) -> str:
    ranges = []
    for name in sorted(rows["method"].unique(), key=rank):
        of_method = rows[rows["method"] == name]
        last = of_method[of_method["round"] == of_method["round"].max()]
        layers = last.groupby("tensor")["value"].mean()
        ranges.append(
            f"under {method_name(name)} after round {last['round'].iloc[0]}, from {number(float(layers.min()))} % in "
            f"{layers.idxmin()} to {number(float(layers.max()))} % in {layers.idxmax()}"
        )
    return f"{title}: surviving weights of a layer, {'; '.join(ranges)}."
