"""Accuracy against the share of a ticket's signs that are flipped: a control that the signs matter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import density, method_name, number, rank, transfer_name
from analysis.comparisons.statistics import at_last_round, by_density, sources, spread
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

EXPECTED_OF_RANDOM = 0.5  # a random sign differs from the ticket's in half of the cases


def signs_flipped(frames: Frames) -> go.Figure:
    """Draw each method's mean accuracy against the share of surviving signs flipped, with one standard deviation.

    A panel per density, sparsest first; no traces if no sign was flipped. Random signs stand at one half, the share
    expected to differ.
    """
    cells = [(part, _cells(part)) for part in sections(frames)]
    panels = [panel for part, each in cells for panel in _panels(each, part.prefix)]
    return compose(panels, " ".join(_summary(part.title, each) for part, each in cells), columns=2)


def _cells(section: Section) -> pd.DataFrame:
    """Return the spread by method, round, share of signs flipped and transfer, of all rounds with flipped signs."""
    rows = section.trainings
    rows = rows[rows["round"].notna() & rows["method"].notna()]
    random = rows["transfer"] == "random_signs"
    share = rows["flip_fraction"].mask(random, EXPECTED_OF_RANDOM)
    rows = rows.assign(share=share)[(share > 0) | (rows["transfer"] == "signed") & (share == 0)]
    with_flips = (rows["share"] > 0).groupby([sources(rows).rename("source"), rows["round"]]).transform("any")
    return spread(rows[with_flips], ["method", "round", "share", "transfer"], "test_accuracy_percent")


def _panels(cells: pd.DataFrame, prefix: str) -> Iterator[Panel]:
    for rows in by_density(cells):
        at = float(rows["density"].mean())
        traces = [_trace(name, rows[rows["method"] == name], at) for name in sorted(rows["method"].unique(), key=rank)]
        x = Axis("share of the surviving signs flipped", from_zero=True)
        yield Panel(f"{prefix}density {density(at)}", traces, x, Axis("test accuracy (%)"))


def _trace(name: str, rows: pd.DataFrame, at: float) -> go.Scatter:
    rows = rows.sort_values("share")
    look: dict[str, Any] = style.line(name, "signed")
    look |= {"name": style.text(method_name(name)), "legendgroup": style.text(method_name(name))}
    look["meta"] = {"method": name, "density": at}
    symbols = [style.line(name, start)["marker"]["symbol"] for start in rows["transfer"]]
    points = style.points(rows, "training")
    for point, start in zip(points, rows["transfer"], strict=True):
        point[0] = f"{style.text(_start(start))}<br>{point[0]}"
    return go.Scatter(
        x=rows["share"],
        y=rows["mean"],
        error_y=style.error_bars(rows["sd"]),
        customdata=points,
        hovertemplate="%{y:.2f} %<br>%{x:.2f} of the signs flipped<br>%{customdata[0]}",
        **{**look, "marker": {**look["marker"], "symbol": symbols}},
    )


def _start(start: str) -> str:
    if start == "random_signs":
        return f"{transfer_name(start)}: half of them are expected to differ from the ticket's"
    return transfer_name(start)


def _summary(title: str, cells: pd.DataFrame) -> str:
    lines = []
    for rows in by_density(cells[at_last_round(cells)]):
        at = density(float(rows["density"].mean()))
        for name, line in sorted(rows.groupby("method"), key=lambda each: rank(str(each[0]))):
            lines.append(f"{method_name(str(name))} at density {at}: {', '.join(_points(line.sort_values('share')))}")
    if not lines:
        return f"{title}: no signs were flipped."
    return f"{title}: accuracy by the share of signs flipped: {'; '.join(lines)}."


def _points(rows: pd.DataFrame) -> Iterator[str]:
    for row in rows.to_dict("records"):
        yield f"{number(row['mean'])} % at {row['share']:g}"
