"""Heat maps of layers by round, a panel per section and method: densities, and signs that flip."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from analysis.comparisons.labels import count, density, method_name, number, rank
from analysis.comparisons.statistics import short_keys
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

LABEL_LENGTH = 14  # of a layer's label, in letters: a quarter of a phone's width
_LABEL_PIXELS, _ROW_PIXELS, _HIGHEST = 15, 16, 640
_ENDS = (0.12, 0.95)  # of viridis: both ends stand out from a dark and a light page
Scale = dict[str, Any]


def density_by_layer(frames: Frames) -> go.Figure:
    """Draw the surviving percentage of each prunable layer by round, mean over chains: pruning is global.

    One panel per section and method; no traces without a ticket.
    """
    nothing = "There is no ticket yet."
    drawn = Drawn(_densities, _densities_in_words, _logarithmic, "surviving weights (%)", nothing)
    return layers_by_round(frames, drawn)


def sign_flips(frames: Frames) -> go.Figure:
    """Draw the percentage of each layer's survivors whose sign differs from the previous round, mean over chains.

    One panel per section and method; no traces if no ticket has a predecessor.
    """
    nothing = "No ticket has a predecessor to compare with yet."
    return layers_by_round(frames, Drawn(_flips, _flips_in_words, linear, "signs flipped (%)", nothing))


def _densities(section: Section) -> pd.DataFrame:
    rows = section.frames.tickets
    rows = rows[(rows["role"] == "prunable") & rows["method"].notna() & rows["round"].notna()]
    totals = rows.groupby("key")[["surviving", "weights"]].transform("sum")
    density = totals["surviving"] / totals["weights"]
    return rows.assign(at=rows["round"], value=100 * rows["density"], density=density)


def _densities_in_words(title: str, rows: pd.DataFrame) -> str:
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


def _flips(section: Section) -> pd.DataFrame:
    rows = section.frames.flips
    return rows.assign(at=rows["round"], value=rows["flipped_percent"])


def _flips_in_words(title: str, rows: pd.DataFrame) -> str:
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


@dataclass(frozen=True)
class Drawn:
    """What a heat map of layers shows.

    Attributes:
        rows_of: a section's rows, one per ticket or training, layer and column of the heat map: ``method``, ``chain``,
            ``round``, ``tensor``, ``key``, ``density`` (the ticket's), ``at`` (the column), ``value``.
        words: summary of the rows of a section, by its title.
        scale: the colours of the values.
        title: the colour bar's, with the unit.
        nothing: summary without rows.
        unit: of the values.
        across: what the columns are.
    """

    rows_of: Callable[[Section], pd.DataFrame]
    words: Callable[[str, pd.DataFrame], str]
    scale: Callable[[pd.Series], Scale]
    title: str
    nothing: str
    unit: str = "%"
    across: str = "round"


def layers_by_round(frames: Frames, drawn: Drawn) -> go.Figure:
    """Draw layers downwards in the network's order, rounds or epochs across, and the mean over chains as colour."""
    parts = {part.title: rows for part in sections(frames) if not (rows := drawn.rows_of(part)).empty}
    if not parts:
        return compose([], drawn.nothing)
    methods = sorted({name for rows in parts.values() for name in rows["method"].unique()}, key=rank)
    aligned = all(set(rows["method"].unique()) == set(methods) for rows in parts.values())
    tallest = max(rows["tensor"].nunique() for rows in parts.values())
    height = min(max(tallest * _ROW_PIXELS, 200), _HIGHEST)
    panels = [
        _panel(rows, name, section if len(parts) > 1 else "", height, drawn)
        for section, rows in parts.items()
        for name in methods
        if (rows["method"] == name).any()
    ]
    side_by_side = aligned and len(methods) > 1
    values = pd.concat([rows["value"] for rows in parts.values()])
    summary = " ".join(drawn.words(section, rows) for section, rows in parts.items())
    figure = compose(
        panels, summary, columns=len(methods) if side_by_side else 1, panel_height=height, shared_y=side_by_side
    )
    layout = figure.layout
    below_axis_title = -62 / (layout.height - layout.margin.t - layout.margin.b)
    bar = {"orientation": "h", "y": below_axis_title, "yanchor": "top", "thickness": 10, "outlinewidth": 0}
    bar["title"] = {"text": drawn.title, "side": "top", "font": {"size": 13}}
    figure.update_layout(height=layout.height + 40, margin={"b": layout.margin.b + 40})
    return figure.update_layout(coloraxis={**drawn.scale(values), "colorbar": bar})


def linear(values: pd.Series) -> Scale:
    """Return colours from 0 to the highest value."""
    highest = float(values.max()) if values.notna().any() else 0.0
    return {"cmin": 0, "cmax": highest or 1.0, "colorscale": [*zip((0, 0.25, 0.5, 0.75, 1), _colours(5), strict=True)]}


def _logarithmic(values: pd.Series) -> Scale:
    """Return colours on a logarithmic scale up to 100; values below 0.1 look like 0.1."""
    lowest = float(np.clip(values[values > 0].min(), 0.1, 50)) if (values > 0).any() else 0.1
    stops = np.geomspace(lowest, 100, 33)
    places = (stops - lowest) / (100 - lowest)
    return {"cmin": lowest, "cmax": 100, "colorscale": [*zip(places.round(6).tolist(), _colours(33), strict=True)]}


def _colours(n: int) -> list[str]:
    return list(sample_colorscale("Viridis", list(np.linspace(*_ENDS, n))))


def _panel(rows: pd.DataFrame, name: str, section: str, height: int, drawn: Drawn) -> Panel:
    layers = list(pd.unique(rows["tensor"]))
    columns = sorted(rows["at"].unique())
    cells = {(tensor, at): cell for tensor, at, cell in _cells(rows[rows["method"] == name])}
    grid = [[cells.get((layer, at), (None, ["", None, ""])) for at in columns] for layer in layers]
    label = style.text(method_name(name))
    trace = go.Heatmap(
        x=[f"{at:g}" for at in columns],
        y=[style.text(layer) for layer in layers],
        z=[[value for value, _ in row] for row in grid],
        customdata=[[point for _, point in row] for row in grid],
        hovertemplate=f"%{{y}}, {drawn.across} %{{x}}: %{{z:.2f}} {drawn.unit}<br>%{{customdata[0]}}<extra></extra>",
        hoverongaps=False,
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
        name=label,
        legendgroup=label,
        showlegend=False,
        meta={"method": name},
    )
    title = f"{section}: {method_name(name)}" if section else method_name(name)
    return Panel(
        title, [trace], Axis(drawn.across, "category"), Axis("layer", "category", looks=_labels(layers, height))
    )


def _cells(rows: pd.DataFrame) -> Iterator[tuple[str, float, tuple[float | None, list[object]]]]:
    """Yield layer, column, and the mean over chains with its point's ``customdata``."""
    table = rows.groupby(["tensor", "at"], sort=False).agg(
        mean=("value", "mean"),
        sd=("value", "std"),
        chains=("chain", "nunique"),
        density=("density", "mean"),
        keys=("key", short_keys),
    )
    for (tensor, column), mean, sd, chains, of_ticket, keys in table.itertuples():
        over = [f"density {density(of_ticket)} in all"]
        if not np.isnan(sd):
            over.append(f"standard deviation {number(sd)}")
        over.append(f"n = {count(chains, 'chain')}")
        yield (
            tensor,
            column,
            (None if np.isnan(mean) else round(mean, 4), ["<br>".join(over), round(of_ticket, 6), keys]),
        )


def _labels(layers: Sequence[str], height: int) -> dict[str, Any]:
    """Label as many layers as fit, with short names; hovering shows the full names."""
    every = ceil(len(layers) * _LABEL_PIXELS / height)
    return {
        "autorange": "reversed",
        "tickvals": [style.text(layer) for layer in layers[::every]],
        "ticktext": [style.text(label) for label in short_names(layers)[::every]],
        "tickfont": {"size": 11},
    }


def short_names(layers: Sequence[str]) -> list[str]:
    """Drop the prefix that all names share, then shorten the words of names that are still long."""
    paths = [layer.removesuffix(".weight").split(".") for layer in layers]
    while len(paths) > 1 and all(len(path) > 1 and path[0] == paths[0][0] for path in paths):
        paths = [path[1:] for path in paths]
    return [_short(".".join(path)) for path in paths]


def _short(name: str) -> str:
    """Cut words rather than numbers: numbers tell most layers apart."""
    for letters in range(8, 0, -1):
        if len(name) <= LABEL_LENGTH:
            return name
        name = re.sub(rf"([A-Za-z_]{{{letters}}})[A-Za-z_]+", r"\1", name)
    half = (LABEL_LENGTH - 1) // 2
    return name if len(name) <= LABEL_LENGTH else f"{name[:half]}…{name[-half:]}"
