"""Every other number that probes give to pairs of solutions, against density."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.statistics import spread
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

PAIRS = {"lmc": "to the solution", "stability": "between two SGD seeds"}


def pair_probes(frames: Frames) -> go.Figure:
    """Draw the mean of each probe's numbers for each method and transfer over seeds and chains, with one deviation.

    Two panels per section and number, one per kind of pair; no traces where no such probe was run.
    """
    parts = sections(frames)
    alone = len(parts) == 1
    panels = [panel for part in parts for panel in _panels(part, "" if alone else f"{part.title}: ")]
    return compose(panels, " ".join(_summary(part) for part in parts), columns=2)


def _panels(section: Section, prefix: str) -> Iterator[Panel]:
    for column, pair, rows in _numbers(section):
        traces = [style.against_density(*each, column, "probe") for each in style.lines(rows)]
        yield Panel(f"{prefix}{column}, {PAIRS[pair]}", traces, Axis("density", "density"), Axis(column))


def _numbers(section: Section) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield column, kind of pair, and means: rows of ``analysis.comparisons.statistics.spread``."""
    every = section.frames.stages
    probed = every[(every["kind"] == "pair_probe") & every["round"].notna()]
    for name, stages in probed.groupby("pair_probe"):
        for column in sorted(c for c in stages.columns if c.startswith(f"{name}_") and stages[c].notna().any()):
            for pair in PAIRS:
                rows = stages[stages["probe"] == pair]
                if not rows.empty:
                    yield column, pair, spread(rows, ["method", "transfer", "round"], column)


def _summary(section: Section) -> str:
    numbers = [
        f"{column} {PAIRS[pair]} of {mean}"
        for column, pair, means in _numbers(section)
        for mean in style.sparsest(means, "")
    ]
    return f"{section.title}: {', '.join(numbers) or 'no pair was probed for anything else'}."
