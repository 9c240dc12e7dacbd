"""Share of signs that flip in each round, layer by layer."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import method_name, number, rank
from analysis.figures.heat import layers_by_round, linear
from analysis.frames.load import Frames
from analysis.frames.sections import sections


def sign_flips(frames: Frames) -> go.Figure:
    """Draw the percentage of each layer's survivors whose sign differs from the previous round, mean over chains.

    One panel per section and method; no traces if no ticket has a predecessor.
    """
    parts = {
        part.title: part.frames.flips.assign(value=part.frames.flips["flipped_percent"]) for part in sections(frames)
    }
    parts = {title: rows for title, rows in parts.items() if not rows.empty}
    values = pd.concat([rows["value"] for rows in parts.values()]) if parts else pd.Series(dtype="float64")
    summary = " ".join(_summary(title, rows) for title, rows in parts.items())
    summary = summary or "No ticket has a predecessor to compare with yet."
    return layers_by_round(parts, "signs flipped (%)", summary, "chain", linear(values))


def _summary(title: str, rows: pd.DataFrame) -> str:
    totals = rows.groupby(["method", "chain", "round"])[["flipped", "signed"]].sum()
    rates = (100 * totals["flipped"] / totals["signed"]).groupby(["method", "round"]).mean().reset_index(name="percent")
    ends = []
    for name in sorted(rates["method"].unique(), key=rank):
        of_method = rates[rates["method"] == name].sort_values("round")
        first_and_last = (of_method.iloc[0], of_method.iloc[-1])
        ends.append(
            f"under {method_name(name)} "
            + " and ".join(f"{number(end['percent'])} % in round {end['round']}" for end in first_and_last)
        )
    return f"{title}: signs flipped over all layers, {'; '.join(ends)}."
