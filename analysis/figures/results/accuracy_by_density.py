"""Test accuracy after the final training against density: each start's (paper figure 3a), and published (figure 4)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import density, number
from analysis.comparisons.statistics import spread
from analysis.figures import style
from analysis.figures.panel import DENSITY, Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

VALUE = "test_accuracy_percent"
ACCURACY_AXIS = Axis("test accuracy (%)")
OURS = ("retrain", "signed", "mask")  # further controls would hide the comparison
NO_SOURCE = "without a source in the file"
# published series are grey, so markers and dashes tell them apart; a series keeps its look in all panels
_LOOKS = (("star", "dot"), ("hourglass", "dash"), ("pentagon", "dashdot"), ("bowtie", "longdash"))


def accuracy_by_density(frames: Frames) -> go.Figure:
    """Draw the mean accuracy of each method and transfer over seeds and chains, with one standard deviation.

    Dense trainings are a horizontal line with a band. One panel per section; no traces if nothing was trained.
    """
    parts = sections(frames)
    panels = (Panel(part.title, _own_traces(part), DENSITY, ACCURACY_AXIS) for part in parts)
    return compose(panels, " ".join(_summary(part) for part in parts), columns=2)


def against_published(frames: Frames) -> go.Figure:
    """Draw the store's mean accuracy (``OURS`` and dense), and in grey every published series of the same setting.

    One panel per section with published series (``frames.published``); no traces if no section has any.
    """
    every = [(part, _published(frames, part)) for part in sections(frames)]
    parts = [(part, rows) for part, rows in every if not rows.empty]
    series = sorted({str(name) for _, rows in parts for name in rows["series"]})
    panels = [
        Panel(part.title, [*_own_traces(part, OURS), *_published_traces(rows, series)], DENSITY, ACCURACY_AXIS)
        for part, rows in parts
    ]
    return compose(panels, " ".join(_published_in_words(part, rows) for part, rows in parts), columns=2)


def _own_traces(section: Section, transfers: Collection[str] | None = None) -> list[Any]:
    """Return a line per method and transfer (by default all transfers), and the dense line with its band."""
    accuracies, dense = _accuracies(section)
    if transfers is not None:
        accuracies = accuracies[accuracies["transfer"].isin(transfers)]
    traces: list[Any] = []
    if not dense.empty:
        densities = [*accuracies["density"]] or [1.0, 0.1]
        traces += _dense(dense.iloc[0], (max(densities) * 1.12, min(densities) / 1.12))
    return traces + style.against_density(accuracies, "%", "training")


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
    means = [f"dense training reaches {number(row['mean'])} %" for row in dense.to_dict("records")]
    means += style.sparsest(accuracies, "%")
    return f"{section.title}: {', '.join(means) or 'no final training is done yet'}."


def _published(frames: Frames, section: Section) -> pd.DataFrame:
    rows = frames.published
    return rows[(rows["dataset"] == section.dataset) & (rows["architecture"] == section.architecture)]


def _published_traces(published: pd.DataFrame, series: list[str]) -> Iterator[go.Scatter]:
    for name, rows in published.groupby("series"):
        symbol, dash = _LOOKS[series.index(str(name)) % len(_LOOKS)]
        label = style.text(f"{name} (published)")
        yield go.Scatter(
            x=rows["density"],
            y=rows["accuracy_percent"],
            customdata=[
                [f"density {density(at)}<br>published, {style.text(source or NO_SOURCE)}", at, ""]
                for at, source in zip(rows["density"], rows["source"], strict=True)
            ],
            hovertemplate="%{y:.2f} %<br>%{customdata[0]}",
            name=label,
            legendgroup=label,
            meta={"published": True},
            mode="lines+markers",
            line={"color": style.GREY, "dash": dash, "width": 1.5},
            marker={"color": style.GREY, "symbol": symbol, "size": 9},
        )


def _published_in_words(section: Section, published: pd.DataFrame) -> str:
    values = []
    for name, rows in published.groupby("series"):
        sparsest = rows.sort_values("density").iloc[0]
        values.append(
            f"{name} is published with {number(float(sparsest['accuracy_percent']))} % at density "
            f"{density(float(sparsest['density']))}"
        )
    return f"{section.title}: {'; '.join(values)}."
