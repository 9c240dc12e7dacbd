"""Barriers against density: to the solution, and between two final trainings of one start (paper figure 3b)."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.statistics import spread
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

PROBES = {"lmc": "barrier to the solution", "stability": "barrier between two SGD seeds"}


def barrier_by_density(frames: Frames) -> go.Figure:
    """Draw the mean barrier of each method and transfer over seeds and chains, with one standard deviation.

    Two panels per section, one per kind of probe; no traces where nothing was probed.
    """
    parts = sections(frames)
    alone = len(parts) == 1
    panels = [panel for part in parts for panel in _panels(part, "" if alone else f"{part.title}: ")]
    return compose(panels, " ".join(_summary(part) for part in parts), columns=1 if alone else 2)


def _panels(section: Section, prefix: str) -> Iterator[Panel]:
    for probe, title in PROBES.items():
        traces = [style.against_density(*each, "points", "probe") for each in style.lines(_barriers(section, probe))]
        yield Panel(prefix + title, traces, Axis("density", "density"), Axis("points", from_zero=True))


def _barriers(section: Section, probe: str) -> pd.DataFrame:
    rows = section.barriers(probe)
    rows = rows[rows["round"].notna()]
    return spread(rows, ["method", "transfer", "round"], "barrier_points", error="barrier_standard_error_points")


def _summary(section: Section) -> str:
    barriers = [
        f"{title} of {mean}"
        for probe, title in PROBES.items()
        for mean in style.sparsest(_barriers(section, probe), "points")
    ]
    return f"{section.title}: {', '.join(barriers) or 'nothing was probed yet'}."
