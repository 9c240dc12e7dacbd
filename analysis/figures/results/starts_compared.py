"""Starts of the same tickets side by side: accuracy, stability and barrier to the solution against density."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import density, method_name, number, rank, transfer_name
from analysis.comparisons.measures import ACCURACY, BARRIER, STABILITY, Measure
from analysis.comparisons.statistics import spread
from analysis.figures import style
from analysis.figures.panel import DENSITY, Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

SHOWN = (ACCURACY, STABILITY, BARRIER)


def signs_kept(frames: Frames) -> go.Figure:
    """Keep signs and psi, draw magnitudes anew: does the network stay in its basin (paper figure 2)?

    Draws retrain, signed transfer with psi kept, and signed transfer with fresh psi, as ``starts_compared`` does.
    """
    return starts_compared(frames, ["signed_psi_kept", "retrain", "signed"])


def signs_of_psi(frames: Frames) -> go.Figure:
    """Transfer the signs of psi too: does a signed transfer gain (paper figure 5)?

    Draws signed transfer with and without the signs of psi, as ``starts_compared`` does.
    """
    return starts_compared(frames, ["signed_psi_signs", "signed"])


def starts_compared(frames: Frames, transfers: Sequence[str]) -> go.Figure:
    """Draw the mean of each measure over seeds and chains, with one standard deviation, against density.

    A row of panels per measure, LRR beside AWS, for each method that trained the first transfer; no traces if none did.

    Args:
        transfers: the starts to draw; the first is the figure's subject.
    """
    parts = sections(frames)
    methods = {part.title: _methods(part, transfers[0]) for part in parts}
    panels = [
        _panel(part, name, measure, transfers) for part in parts for measure in SHOWN for name in methods[part.title]
    ]
    columns = {len(names) for names in methods.values() if names}
    # a row of panels shares its axis, which needs the same methods in all rows
    side_by_side = len(columns) == 1 and all(panel.traces for panel in panels)
    summary = " ".join(_summary(part, transfers, methods[part.title]) for part in parts)
    return compose(panels, summary, columns=max(columns) if side_by_side else 1, shared_y=side_by_side)


def _methods(section: Section, needed: str) -> list[str]:
    rows = section.trainings
    return sorted(rows.loc[rows["transfer"] == needed, "method"].dropna().unique(), key=rank)


def _panel(section: Section, name: str, measure: Measure, transfers: Sequence[str]) -> Panel:
    noun = "probe" if measure.probe else "training"
    cells = _cells(section, name, measure, transfers)
    traces = style.against_density(cells, measure.unit, noun)
    y = Axis("points", from_zero=True) if measure.probe else Axis(f"{measure.title} ({measure.unit})")
    return Panel(f"{section.prefix}{method_name(name)}, {measure.title}", traces, DENSITY, y)


def _cells(section: Section, name: str, measure: Measure, transfers: Sequence[str]) -> pd.DataFrame:
    rows = measure.rows(section)
    rows = rows[rows["transfer"].isin(transfers) & (rows["method"] == name) & rows["round"].notna()]
    return spread(rows, ["method", "transfer", "round"], measure.column, error=measure.error)


def _summary(section: Section, transfers: Sequence[str], methods: Sequence[str]) -> str:
    rows = section.trainings
    last = rows.loc[rows["transfer"] == transfers[0], "round"].max()
    sentences = []
    for name, measure in product(methods, SHOWN):
        cells = _cells(section, name, measure, transfers)
        cells = cells[cells["round"] == last]
        lines = style.lines(cells)
        means = [f"{transfer_name(start)} {number(at['mean'].iloc[0])} {measure.unit}" for _, start, at in lines]
        if means:
            where = f"{method_name(name)} at density {density(cells['density'].mean())}"
            sentences.append(f"{where}, {measure.title}: {', '.join(means)}")
    return f"{section.title}: {'; '.join(sentences) or 'nothing to compare was trained'}."
