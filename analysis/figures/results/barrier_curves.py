"""Test error on the straight path between two solutions (paper figure 3c)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import density, method_name, number, rank, source_of, transfer_name
from analysis.comparisons.statistics import by_density, sources, spread
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

ENDS = {"lmc": "λ: 0 = retrain, 1 = transfer", "stability": "λ: 0 = one SGD seed, 1 = the other"}


def barrier_curves(
    frames: Frames, probe: Literal["lmc", "stability"], near: float | None = None, apart_from: float | None = None
) -> go.Figure:
    """Draw the mean error at each lambda over seeds and chains, with a band of one standard deviation.

    A row of panels per density, LRR beside AWS.

    Args:
        probe: "lmc" (lambda 0: the retrain solution, 1: the transfer's) or "stability" (two final trainings).
        near: draw only the probed density nearest to this value on a logarithmic scale, of the sweep's tickets and of
            each source of others; the paper shows 0.09.
        apart_from: draw all probed densities except the nearest to this value.
    """
    parts = sections(frames)
    curves = [_curves(part, probe, near, apart_from) for part in parts]
    methods = sorted({name for each in curves for name in each["method"].unique()}, key=rank)
    panels = [
        panel
        for part, each in zip(parts, curves, strict=True)
        for panel in _panels(each, methods, part.prefix, ENDS[probe])
    ]
    summary = " ".join(_summary(part.title, each) for part, each in zip(parts, curves, strict=True))
    columns = max(Counter(map(source_of, methods)).values(), default=1)
    return compose(panels, summary, columns=columns, shared_y=True)


def _curves(section: Section, probe: str, near: float | None, apart_from: float | None) -> pd.DataFrame:
    rows = section.frames.probes
    rows = rows[(rows["probe"] == probe) & rows["round"].notna()]
    if near is not None:
        rows = rows[_nearest(rows, near)]
    if apart_from is not None:
        rows = rows[~_nearest(rows, apart_from)]
    by = ["round", "method", "transfer", "lambda"]
    return spread(rows, by, "error_percent", error="error_standard_error_points")


def _nearest(rows: pd.DataFrame, density: float) -> pd.Series:
    """Mark the rows of each source's round whose density is nearest on a logarithmic scale."""
    source = sources(rows).rename("source")
    ratios = rows.groupby([source, rows["round"]])["density"].transform("mean").astype("float64") / density
    distance = ratios.where(ratios >= 1, 1 / ratios)
    return distance == distance.groupby(source).transform("min")


def _panels(curves: pd.DataFrame, methods: list[str], prefix: str, ends: str) -> Iterator[Panel]:
    for row in by_density(curves):
        at = float(row["density"].mean())
        for name in methods:
            traces = [
                trace
                for _, start, curve in style.lines(row[row["method"] == name])
                for trace in _traces(name, start, curve, at)
            ]
            title = f"{prefix}{method_name(name)}, density {density(at)}"
            yield Panel(title, traces, Axis(ends, "share"), Axis("test error (%)"))


def _traces(name: str, start: str, curve: pd.DataFrame, at: float) -> Iterator[go.Scatter]:
    look = style.line(name, start)
    look["meta"] = {**look["meta"], "density": at}
    sd = curve["sd"].fillna(0)
    shade = style.method_colour(name)
    low, high = list(curve["mean"] - sd), list(curve["mean"] + sd)
    yield style.band(list(curve["lambda"]), low, high, shade, look)
    yield go.Scatter(
        x=curve["lambda"],
        y=curve["mean"],
        customdata=style.points(curve, "probe"),
        hovertemplate="λ = %{x:.2f}: %{y:.2f} %<br>%{customdata[0]}",
        **look,
    )


def _summary(title: str, curves: pd.DataFrame) -> str:
    errors = []
    for row in by_density(curves):
        for name, start, curve in style.lines(row):
            ends = curve[curve["lambda"].isin([0.0, 1.0])]["mean"].mean()
            errors.append(
                f"{method_name(name)} {transfer_name(start)} at density {density(float(curve['density'].mean()))}: "
                f"{number(float(ends))} % at the ends, {number(float(curve['mean'].max()))} % at most"
            )
    return f"{title}: {'; '.join(errors) or 'nothing was probed yet'}."
