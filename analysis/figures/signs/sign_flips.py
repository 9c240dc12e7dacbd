"""How many signs flip in each round, layer by layer."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import method_name, number, rank
from analysis.figures.heat import layers_by_round, linear
from analysis.frames.load import Frames
from analysis.frames.sections import sections


def sign_flips(frames: Frames) -> go.Figure:
    """Percentage of each layer's common survivors whose sign is another than in the round before, mean over chains.

    One panel per section and method; no traces where no ticket has a predecessor.
    """
    parts = {
        part.title: part.frames.flips.assign(value=part.frames.flips["flipped_percent"]) for part in sections(frames)
    }
    parts = {title: rows for title, rows in parts.items() if not rows.empty}
    values = pd.concat([rows["value"] for rows in parts.values()]) if parts else pd.Series(dtype="float64")
    said = " ".join(_summary(title, rows) for title, rows in parts.items())
    said = said or "No ticket has a predecessor to compare with yet."
    return layers_by_round(parts, "signs flipped (%)", said, "chain", linear(values))


def _summary(title: str, rows: pd.DataFrame) -> str:
    totals = rows.groupby(["method", "chain", "round"])[["flipped", "signed"]].sum()
    rates = (100 * totals["flipped"] / totals["signed"]).groupby(["method", "round"]).mean().reset_index(name="percent")
    said = []
    for name in sorted(rates["method"].unique(), key=rank):
        own = rates[rates["method"] == name].sort_values("round")
        ends = (own.iloc[0], own.iloc[-1])
        said.append(
            f"under {method_name(name)} "
            + " and ".join(f"{number(end['percent'])} % in round {end['round']}" for end in ends)
        )
    return f"{title}: signs flipped over all layers, {'; '.join(said)}."
