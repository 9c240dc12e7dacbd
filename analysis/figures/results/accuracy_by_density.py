"""Test accuracy after the final training against density, for each start (paper figure 3a)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import density, method_name, number, transfer_name
from analysis.comparisons.statistics import spread
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

VALUE = "test_accuracy_percent"
DENSITY, ACCURACY = Axis("density", "density"), Axis("test accuracy (%)")


def accuracy_by_density(frames: Frames) -> go.Figure:
    """Mean accuracy of each method and transfer over seeds and chains, with one standard deviation.

    Dense trainings are a horizontal line with a band. One panel per section; no traces where nothing was trained.
    """
    parts = sections(frames)
    panels = (Panel(part.title, accuracy_traces(part), DENSITY, ACCURACY) for part in parts)
    return compose(panels, " ".join(_summary(part) for part in parts), columns=2)


def accuracy_traces(section: Section, transfers: Collection[str] | None = None) -> list[Any]:
    """A line for each method and transfer, or only those transfers, over the dense line with its band."""
    accuracies, dense = _accuracies(section)
    if transfers is not None:
        accuracies = accuracies[accuracies["transfer"].isin(transfers)]
    traces: list[Any] = []
    if not dense.empty:
        densities = [*accuracies["density"]] or [1.0, 0.1]
        traces += _dense(dense.iloc[0], (max(densities) * 1.12, min(densities) / 1.12))
    traces += [style.against_density(*each, "%", "training") for each in style.lines(accuracies)]
    return traces


def _accuracies(section: Section) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = section.trainings
    sparse = rows[rows["round"].notna() & rows["method"].notna()]
    dense = rows[rows["transfer"] == "dense"]
    return spread(sparse, ["method", "transfer", "round"], VALUE), spread(dense, ["transfer"], VALUE)


def _dense(dense: pd.Series, ends: tuple[float, float]) -> Iterator[go.Scatter]:
    mean, sd = dense["mean"], dense["sd"]
    look = {"name": "dense", "legendgroup": "dense", "meta": {"transfer": "dense"}}
    if sd > 0:
        yield style.band(list(ends), [mean - sd] * 2, [mean + sd] * 2, style.GREY, look)
    [point] = style.points(dense.to_frame().T.assign(density=None), "training")
    yield go.Scatter(
        x=list(ends),
        y=[mean, mean],
        customdata=[point, point],
        mode="lines",
        line={"color": style.GREY, "width": 2},
        hovertemplate="dense: %{y:.2f} %<br>%{customdata[0]}",
        **look,
    )


def _summary(section: Section) -> str:
    accuracies, dense = _accuracies(section)
    said = [f"dense training reaches {number(row['mean'])} %" for row in dense.to_dict("records")]
    if not accuracies.empty:
        sparsest = accuracies[accuracies["round"] == accuracies["round"].max()]
        said += [
            f"{method_name(name)} {transfer_name(start)} {number(float(rows['mean'].iloc[0]))} % at density "
            f"{density(float(rows['density'].iloc[0]))}"
            for name, start, rows in style.lines(sparsest)
        ]
    return f"{section.title}: {', '.join(said) or 'no final training is done yet'}."
