"""Error landscape: test error over the plane through three solutions, as filled contours."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor, log10
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import density, method_name, number, transfer_name
from analysis.comparisons.statistics import KEY_DIGITS
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

PANEL_HEIGHT = 400
LEVELS = 12
MARKERS = {"A": "circle", "B": "square", "C": "diamond"}
X, Y = Axis("distance from A towards B", "distance"), Axis("distance at right angles to it", "distance")


def landscape(frames: Frames) -> go.Figure:
    """Draw the error at every point of each landscape's grid, on one colour scale, and its three solutions.

    One panel per landscape. Both axes are distances of weights, on one scale. Several landscapes are numbered, in
    titles and names.
    """
    parts = sections(frames)
    drawn = [(part, rows) for part in parts for _, rows in part.frames.landscapes.groupby("key", sort=False)]
    errors = [rows["error_percent"] for _, rows in drawn]
    levels = _levels(min(each.min() for each in errors), max(each.max() for each in errors)) if errors else {}
    panels, sentences = [], []
    for index, (part, rows) in enumerate(drawn, 1):
        solutions = _solutions(rows, part)
        same = _same(solutions)
        which = str(index) if len(drawn) > 1 else ""
        shared = ", ".join([*([part.title] if len(parts) > 1 else []), *same.values()])
        named = {letter: f"{which}{letter}: {_name(row, same)}" for letter, row in solutions.items()}
        traces = [_error(rows, levels, first=index == 1), *_marks(solutions, named, rows["key"].iloc[0])]
        panels.append(Panel(f"{which}: {shared}" if shared else which, traces, X, Y))
        sentences.append(_sentence(part, rows, solutions, named, same))
    return compose(panels, " ".join(sentences) or "No landscape was computed.", panel_height=PANEL_HEIGHT)


def _solutions(rows: pd.DataFrame, section: Section) -> dict[str, dict[str, Any]]:
    """Return the three solutions by letter: their places, errors, and their stages' labels."""
    measured = rows[rows["solution"].notna()].sort_values(["y", "x"])  # A and B lie on the x axis
    measured = measured[["solution", "x", "y", "error_percent", "error_standard_error_points"]]
    labels = ["key", "method", "chain", "round", "transfer", "seed", "twin", "density"]
    solutions = measured.assign(letter=list(MARKERS)).merge(
        section.frames.stages[labels], left_on="solution", right_on="key"
    )
    return {row["letter"]: row for row in _records(solutions)}


def _same(solutions: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the labels that all three share, in words."""
    every = [_words(row) for row in solutions.values()]
    first = every[0] if every else {}
    return {name: text for name, text in first.items() if all(words.get(name) == text for words in every)}


def _words(row: dict[str, Any]) -> dict[str, str]:
    """Write a solution's labels in words."""
    start = transfer_name(row["transfer"]) if row["transfer"] else f"ticket of round {row['round']}"
    words = {"start": f"{method_name(row['method'])} {start}" if row["method"] else start}
    if row["density"] is not None and row["transfer"] != "dense":
        words["density"] = f"density {density(row['density'])}"
    words |= {name: f"{name} {row[name]}" for name in ("chain", "seed") if row[name] is not None}
    return words | ({"twin": "twin"} if row["twin"] else {})


def _name(row: dict[str, Any], same: dict[str, str]) -> str:
    """Name a solution by its start and by the labels in which the three differ."""
    return ", ".join(text for name, text in _words(row).items() if name == "start" or name not in same)


def _error(rows: pd.DataFrame, levels: dict[str, float], *, first: bool) -> go.Contour:
    grid = rows[rows["solution"].isna()]
    errors = [f"standard error {number(error)} points" for error in grid["error_standard_error_points"]]
    row = _records(grid.head(1))[0]
    return go.Contour(
        x=grid["x"],
        y=grid["y"],
        z=grid["error_percent"],
        text=errors,
        customdata=[[error, row["density"], row["key"][:KEY_DIGITS]] for error in errors],
        hovertemplate="%{z:.2f} %<br>%{text}",
        colorscale="Cividis",
        zmin=levels["start"],
        zmax=levels["end"],
        contours=levels,
        line={"width": 0.5, "color": "rgba(255,255,255,0.4)"},
        showscale=first,
        colorbar={
            "title": {"text": "test error (%)", "side": "right", "font": {"size": 13}},
            "thickness": 12,
            "outlinewidth": 0,
        },
        showlegend=False,
        name="test error",
        legendgroup="test error",
        meta={name: row[name] for name in ("method", "transfer", "density") if row[name] is not None},
    )


def _marks(solutions: dict[str, dict[str, Any]], named: dict[str, str], key: str) -> Iterator[go.Scatter]:
    for letter, row in solutions.items():
        name = style.text(named[letter])
        error = f"standard error {number(row['error_standard_error_points'])} points"
        yield go.Scatter(
            x=[row["x"]],
            y=[row["y"]],
            mode="markers",
            # white in black is visible on every colour of the scale, and in the legend of a light or dark page
            marker={"symbol": MARKERS[letter], "size": 12, "color": "white", "line": {"color": "black", "width": 2}},
            customdata=[[error, row["density"], f"{key[:KEY_DIGITS]},{row['key'][:KEY_DIGITS]}"]],
            hovertemplate=f"{number(row['error_percent'])} %<br>%{{customdata[0]}}",
            name=name,
            legendgroup=name,
            meta={name: row[name] for name in ("method", "transfer", "density") if row[name] is not None},
        )


def _levels(low: float, high: float) -> dict[str, float]:
    """Choose about ``LEVELS`` contours at round numbers."""
    rough = max(high - low, 0.1) / LEVELS
    power = 10.0 ** floor(log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
    return {"start": floor(low / step) * step, "end": -floor(-high / step) * step, "size": step}


def _sentence(
    section: Section,
    rows: pd.DataFrame,
    solutions: dict[str, dict[str, Any]],
    named: dict[str, str],
    same: dict[str, str],
) -> str:
    at = "; ".join(f"{named[letter]}, {number(row['error_percent'])} %" for letter, row in solutions.items())
    errors = rows.loc[rows["solution"].isna(), "error_percent"]
    of = ", ".join([section.title, *same.values()])
    return f"{of}: test error at {at}; in the plane through them {number(errors.min())} to {number(errors.max())} %."


def _records(rows: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return the rows as dictionaries, with None for every missing value."""
    return rows.astype(object).where(rows.notna(), None).to_dict("records")
