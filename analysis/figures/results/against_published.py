"""A store's accuracy against density, beside published series from a user's file (paper figure 4)."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import density, number
from analysis.figures import style
from analysis.figures.panel import Panel, compose
from analysis.figures.results.accuracy_by_density import ACCURACY, DENSITY, accuracy_traces
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

OURS = ("retrain", "signed", "mask")  # further controls would hide the comparison
# published series are grey, so markers and dashes tell them apart; a series keeps its look in all panels
_LOOKS = (("star", "dot"), ("hourglass", "dash"), ("pentagon", "dashdot"), ("bowtie", "longdash"))


def against_published(frames: Frames) -> go.Figure:
    """Draw the store's mean accuracy (``OURS`` and dense), and in grey every published series of the same setting.

    One panel per section with published series (``frames.published``); no traces if no section has any.
    """
    every = [(part, _published(frames, part)) for part in sections(frames)]
    parts = [(part, rows) for part, rows in every if not rows.empty]
    series = sorted({str(name) for _, rows in parts for name in rows["series"]})
    panels = [
        Panel(part.title, [*accuracy_traces(part, OURS), *_traces(rows, series)], DENSITY, ACCURACY)
        for part, rows in parts
    ]
    return compose(panels, " ".join(_summary(part, rows) for part, rows in parts), columns=2)


def _published(frames: Frames, section: Section) -> pd.DataFrame:
    rows = frames.published
    return rows[(rows["dataset"] == section.dataset) & (rows["architecture"] == section.architecture)]


def _traces(published: pd.DataFrame, series: list[str]) -> Iterator[go.Scatter]:
    for name, rows in published.groupby("series"):
        symbol, dash = _LOOKS[series.index(str(name)) % len(_LOOKS)]
        label = style.text(f"{name} (published)")
        yield go.Scatter(
            x=rows["density"],
            y=rows["accuracy_percent"],
            customdata=[
                [f"density {density(row['density'])}<br>{style.text(_origin(row['source']))}", row["density"], ""]
                for row in rows.to_dict("records")
            ],
            hovertemplate="%{y:.2f} %<br>%{customdata[0]}",
            name=label,
            legendgroup=label,
            meta={"published": True},
            mode="lines+markers",
            line={"color": style.GREY, "dash": dash, "width": 1.5},
            marker={"color": style.GREY, "symbol": symbol, "size": 9},
        )


def _origin(source: str) -> str:
    return f"published, {source}" if source else "published, without a source in the file"


def _summary(section: Section, published: pd.DataFrame) -> str:
    values = []
    for name, rows in published.groupby("series"):
        sparsest = rows.sort_values("density").iloc[0]
        values.append(
            f"{name} is published with {number(float(sparsest['accuracy_percent']))} % at density "
            f"{density(float(sparsest['density']))}"
        )
    return f"{section.title}: {'; '.join(values)}."
