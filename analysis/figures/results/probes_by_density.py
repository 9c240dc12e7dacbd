"""Probes of pairs against density: barriers (paper figure 3b), and every other number that a probe gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.statistics import spread
from analysis.figures import style
from analysis.figures.panel import DENSITY, Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

PAIRS = {
    "lmc": "to the solution",
    "stability": "between two SGD seeds",
    "successive": "to the round before",
}
QUALIFIERS = ("_standard_error", "_residual", "_iterations")
"""Endings of numbers that say how good another number is: they have no panels of their own."""
_Drawn = Iterator[tuple[Panel, list[str]]]  # panels, each with its means in words


def barrier_by_density(frames: Frames) -> go.Figure:
    """Draw the mean barrier of each method and transfer over seeds and chains, with one standard deviation.

    A panel per section and kind of probe; no traces where nothing was probed.
    """
    parts = sections(frames)
    return _figure(parts, _barriers, "nothing was probed yet", columns=1 if len(parts) == 1 else 2)


def pair_probes(frames: Frames) -> go.Figure:
    """Draw the mean of each probe's numbers for each method and transfer over seeds and chains, with one deviation.

    A panel per section, number and kind of pair; no traces where no such probe was run.
    """
    return _figure(sections(frames), _numbers, "no pair was probed for anything else", columns=2)


def _figure(parts: list[Section], draw: Callable[[Section], _Drawn], nothing: str, columns: int) -> go.Figure:
    drawn = {part.title: list(draw(part)) for part in parts}
    means = {title: [mean for _, words in each for mean in words] for title, each in drawn.items()}
    summary = " ".join(f"{title}: {', '.join(words) or nothing}." for title, words in means.items())
    return compose([panel for each in drawn.values() for panel, _ in each], summary, columns=columns)


def _barriers(section: Section) -> _Drawn:
    for probe, pair in PAIRS.items():
        means = _means(section.probed(probe), "barrier_points", "barrier_standard_error_points")
        traces = style.against_density(means, "points", "probe")
        panel = Panel(f"{section.prefix}barrier {pair}", traces, DENSITY, Axis("points", from_zero=True))
        yield panel, [f"barrier {pair} of {mean}" for mean in style.sparsest(means, "points")]


def _numbers(section: Section) -> _Drawn:
    every = section.frames.stages
    probed = every[(every["kind"] == "pair_probe") & every["round"].notna()]
    for name, stages in probed.groupby("pair_probe"):
        for column in sorted(c for c in stages.columns if c.startswith(f"{name}_") and stages[c].notna().any()):
            if column.endswith(QUALIFIERS):
                continue
            for probe, pair in PAIRS.items():
                means = _means(stages[stages["probe"] == probe], column)
                traces = style.against_density(means, column, "probe")
                if traces and column.endswith("barrier_points"):
                    traces += _plain_barriers(section, probe)
                panel = Panel(f"{section.prefix}{column}, {pair}", traces, DENSITY, Axis(column))
                yield panel, [f"{column} {pair} of {mean}" for mean in style.sparsest(means, "")]


def _plain_barriers(section: Section, probe: str) -> list[go.Scatter]:
    """Draw the barriers of the networks as they are, faint, behind those of a probe that aligns them."""
    means = _means(section.probed(probe), "barrier_points", "barrier_standard_error_points")
    traces = style.against_density(means, "points", "probe")
    for trace in traces:
        name = f"{trace.name}, as trained"
        trace.update(name=name, legendgroup=name, opacity=0.45, line={"width": 1.2, "dash": "dot"})
    return traces


def _means(rows: pd.DataFrame, column: str, error: str | None = None) -> pd.DataFrame:
    return spread(rows[rows["round"].notna()], ["method", "transfer", "round"], column, error=error)
