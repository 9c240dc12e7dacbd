"""Compare tickets: overlap of masks and agreement of signs, by layer and for every pair."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import number
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose
from analysis.figures.signs.layers_by_round import short_names

MOST_LINES = 6  # lines a reader can tell apart; more pairs are shown in the heat map only
LABEL_LENGTH = 24  # of a ticket's name, in letters; long names keep their end
MEASURES = {"overlap": "masks: common survivors (%)", "agreement": "signs: equal (%)"}


def comparison_figure(frame: pd.DataFrame) -> go.Figure:
    """Draw overlap and agreement of each pair by layer against chance, and a heat map of three tickets or more.

    Args:
        frame: from ``analysis.signs.tickets_compared.compare``.
    """
    totals, layers = frame[frame["tensor"].isna()], frame[frame["tensor"].notna()]
    panels = [_by_layer(layers, *measure) for measure in MEASURES.items() if len(totals) <= MOST_LINES]
    panels += [_of_all(totals, *measure) for measure in MEASURES.items() if len(totals) > 1]
    return compose(panels, _summary(totals), columns=2, panel_height=320)


def _by_layer(layers: pd.DataFrame, measure: str, title: str) -> Panel:
    names = list(pd.unique(layers["tensor"]))
    traces = [
        trace
        for (_, rows), shade in zip(
            layers.groupby(["ticket", "other_ticket"], sort=False), cycle(style.COLOURS_OF_OTHERS), strict=False
        )
        for trace in _lines(rows, measure, shade)
    ]
    every = max(1, len(names) // 12)
    ticks = {
        "tickvals": [style.text(name) for name in names[::every]],
        "ticktext": [style.text(label) for label in short_names(names)[::every]],
    }
    return Panel(title, traces, Axis("layer", "category", looks=ticks), Axis("%", from_zero=True))


def _lines(rows: pd.DataFrame, measure: str, shade: str) -> Iterator[go.Scatter]:
    name = style.text(f"{rows['ticket'].iloc[0]} and {rows['other_ticket'].iloc[0]}")
    tensors = [style.text(tensor) for tensor in rows["tensor"]]
    for column, label, dash in ((f"{measure}_percent", name, "solid"), (f"chance_{measure}_percent", "chance", "dot")):
        yield go.Scatter(
            x=tensors,
            y=rows[column],
            name=name if dash == "solid" else f"{name}: chance",
            legendgroup=name if dash == "solid" else f"{name}: chance",
            mode="lines+markers" if dash == "solid" else "lines",
            line={"color": shade, "dash": dash, "width": 2},
            marker={"color": shade, "size": 6},
            hovertemplate=f"%{{x}}: %{{y:.2f}} %<extra>{label}</extra>",
        )


def _of_all(totals: pd.DataFrame, measure: str, title: str) -> Panel:
    names = list(dict.fromkeys([*totals["ticket"], *totals["other_ticket"]]))
    cells = {
        (row["ticket"], row["other_ticket"]): (row[f"{measure}_percent"], row[f"chance_{measure}_percent"])
        for row in totals.to_dict("records")
    }
    none = (float("nan"), float("nan"))
    grid = [[cells.get((a, b), cells.get((b, a), none)) for b in names] for a in names]
    labels = [style.text(name) for name in names]
    trace = go.Heatmap(
        x=labels,
        y=labels,
        z=[[value for value, _ in row] for row in grid],
        customdata=[[chance for _, chance in row] for row in grid],
        zmin=0,
        zmax=100,
        colorscale="Viridis",
        showscale=False,
        texttemplate="%{z:.1f}" if len(names) <= 12 else None,
        hovertemplate="%{y} and %{x}: %{z:.2f} %, by chance %{customdata:.2f} %<extra></extra>",
        hoverongaps=False,
        xgap=1,
        ygap=1,
    )
    short = [style.text(name if len(name) <= LABEL_LENGTH else f"…{name[1 - LABEL_LENGTH :]}") for name in names]
    ticks = {"tickvals": labels, "ticktext": short}
    # the first ticket is on top, and the left panel alone shows names
    downwards = {"autorange": "reversed", "showticklabels": measure == next(iter(MEASURES))}
    x, y = (Axis("", "category", looks=looks) for looks in (ticks, {**ticks, **downwards}))
    return Panel(f"{title}, all layers", [trace], x, y)


def _summary(totals: pd.DataFrame) -> str:
    sentences = [
        f"{row['ticket']} and {row['other_ticket']} share {number(row['overlap_percent'])} % of their masks (chance "
        f"{number(row['chance_overlap_percent'])} %) and {number(row['agreement_percent'])} % of the signs (chance "
        f"{number(row['chance_agreement_percent'])} %)"
        for row in totals.to_dict("records")
    ]
    return f"{'; '.join(sentences)}."
