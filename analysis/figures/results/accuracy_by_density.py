"""Test accuracy after the final training against density, of each start (paper figure 3a)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import number
from analysis.comparisons.statistics import spread
from analysis.figures import style
from analysis.figures.panel import DENSITY, Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

VALUE = "test_accuracy_percent"
ACCURACY_AXIS = Axis("test accuracy (%)")


def accuracy_by_density(frames: Frames) -> go.Figure:
    """Draw the mean accuracy of each method and transfer over seeds and chains, with one standard deviation.

    Dense trainings are a horizontal line with a band. One panel per section; no traces if nothing was trained.
    """
    parts = sections(frames)
    panels = (Panel(part.title, accuracy_traces(part), DENSITY, ACCURACY_AXIS) for part in parts)
    return compose(panels, " ".join(_summary(part) for part in parts), columns=2)


def accuracy_traces(section: Section, transfers: Collection[str] | None = None) -> list[Any]:
    """Return a line per method and transfer (by default all transfers), and the dense line with its band."""
    accuracies, dense = mean_accuracies(section)
    if transfers is not None:
        accuracies = accuracies[accuracies["transfer"].isin(transfers)]
    traces: list[Any] = []
    if not dense.empty:
        densities = [*accuracies["density"]] or [1.0, 0.1]
        traces += _dense(dense.iloc[0], (max(densities) * 1.12, min(densities) / 1.12))
    return traces + style.against_density(accuracies, "%", "training")


def mean_accuracies(section: Section) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of ``spread`` by method, start and round, and the dense row."""
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
    accuracies, dense = mean_accuracies(section)
    means = [f"dense training reaches {number(row['mean'])} %" for row in dense.to_dict("records")]
    means += style.sparsest(accuracies, "%")
    return f"{section.title}: {', '.join(means) or 'no final training is done yet'}."
