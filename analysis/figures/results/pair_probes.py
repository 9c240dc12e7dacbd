"""What pairs of solutions were measured for beside their barrier, against density: whatever probes a store has."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import density, method_name, number, transfer_name
from analysis.comparisons.statistics import spread
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

PAIRS = {"lmc": "to the solution", "stability": "between two SGD seeds"}


def pair_probes(frames: Frames) -> go.Figure:
    """Mean of each number of each probe, for each method and transfer over seeds and chains, with one deviation.

    Two panels per section and number, one for each kind of pair; no traces where no such probe was asked for.
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
    """Column, kind of pair, and its means: rows of ``analysis.comparisons.statistics.spread``."""
    stages = section.frames.stages
    probed = stages[(stages["kind"] == "pair_probe") & stages["round"].notna()]
    for name, found in probed.groupby("pair_probe"):
        for column in sorted(c for c in found.columns if c.startswith(f"{name}_") and found[c].notna().any()):
            for pair in PAIRS:
                rows = found[found["probe"] == pair]
                if not rows.empty:
                    yield column, pair, spread(rows, ["method", "transfer", "round"], column)


def _summary(section: Section) -> str:
    said = []
    for column, pair, means in _numbers(section):
        sparsest = means[means["round"] == means["round"].max()]
        said += [
            f"{column} {PAIRS[pair]} of {method_name(name)} {transfer_name(start)} "
            f"{number(float(rows['mean'].iloc[0]))} at density {density(float(rows['density'].iloc[0]))}"
            for name, start, rows in style.lines(sparsest)
        ]
    return f"{section.title}: {', '.join(said) or 'no pair was probed for anything else'}."
