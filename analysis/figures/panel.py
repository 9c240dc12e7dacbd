"""Panels, and the figure composed of them.

A figure holds everything that the page needs of it: its summary in ``layout.meta``, each trace's labels in the trace's
``meta``, and each point's density and stages in ``customdata``. So a notebook shows the same figure as the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, log10
from typing import Any, Literal

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.comparisons.labels import density
from analysis.figures import style

PANEL_HEIGHT, ROW_GAP = 260, 83  # pixels


@dataclass(frozen=True)
class Axis:
    """An axis of a panel.

    Attributes:
        title: the quantity, with its unit.
        kind: "density" is logarithmic and sparser to the right; "share" goes from 0 to 1, as lambda does; "distance"
            shares its scale with the panel's other axis.
        from_zero: whether the axis always includes 0.
        looks: further plotly settings of the axis.
        order: categories from the left or from the top, as drawn (``style.text``); by default as they come.
    """

    title: str
    kind: Literal["linear", "density", "share", "distance", "category", "date", "log"] = "linear"
    from_zero: bool = False
    looks: Mapping[str, Any] = field(default_factory=dict)
    order: Sequence[str] = ()


DENSITY = Axis("density", "density")


@dataclass(frozen=True)
class Panel:
    """One set of axes with its traces.

    Attributes:
        title: plain text above the panel, if the figure has several panels.
        height: in pixels; by default the figure's. The highest panel of a row counts.
    """

    title: str
    traces: Sequence[Any]
    x: Axis
    y: Axis
    height: int | None = None


def compose(
    panels: Iterable[Panel], summary: str, *, columns: int = 1, panel_height: int = PANEL_HEIGHT, shared_y: bool = False
) -> go.Figure:
    """Arrange panels in rows, at most ``columns`` wide; without panels, return a figure without traces.

    Args:
        summary: what the figure shows, in a sentence or two, for a reader who cannot see it.
        panel_height: in pixels; the width is the page's.
        shared_y: whether the panels of a row share their y axis.
    """
    panels = [panel for panel in panels if panel.traces]
    if not panels:
        return go.Figure(layout={"meta": {"summary": summary}})
    columns = min(columns, len(panels))
    rows = ceil(len(panels) / columns)
    heights = [
        max(panel.height or panel_height for panel in panels[first : first + columns])
        for first in range(0, len(panels), columns)
    ]
    titles = [style.text(panel.title) for panel in panels] if len(panels) > 1 else None
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_yaxes=shared_y,
        horizontal_spacing=0.04 if shared_y else 0.1 / columns + 0.02 * (columns > 1),
        row_heights=heights,
        vertical_spacing=min(ROW_GAP / sum(heights), 1 / max(rows - 1, 1)),
        subplot_titles=titles,
    )
    named: set[str] = set()
    for number, panel in enumerate(panels):
        place = {"row": number // columns + 1, "col": number % columns + 1}
        for trace in panel.traces:
            # each series is named once, however many panels show it
            trace.showlegend = bool(trace.showlegend is not False and trace.name and trace.legendgroup not in named)
            if trace.showlegend:
                named.add(trace.legendgroup)
            figure.add_trace(trace, **place)
        axes = figure.get_subplot(**place)
        axes.xaxis.update(_axis(panel.x, panel, "x"))
        axes.yaxis.update(_axis(panel.y, panel, "y"))
        if panel.y.kind == "distance":
            axes.yaxis.scaleanchor = f"x{number + 1}" if number else "x"
        if shared_y and place["col"] > 1:
            axes.yaxis.title.text = ""
    style.dress(figure, height=130 + sum(heights))
    figure.update_layout(meta={"summary": summary})
    return figure


def _axis(axis: Axis, panel: Panel, letter: str) -> dict[str, Any]:
    """Return plotly's settings of an axis; one update of all settings takes a fraction of the time of several."""
    looks: dict[str, Any] = {
        **style.AXES[letter],
        "title": {"text": axis.title, "font": {"size": style.AXIS_TITLE_SIZE}, "standoff": 8},
    }
    if axis.kind == "density":
        values = [value for trace in panel.traces for value in (trace[letter] if trace[letter] is not None else ())]
        positive = [float(value) for value in values if value is not None and float(value) > 0] or [1.0, 0.1]
        densest, sparsest = max(positive) * 1.12, min(positive) / 1.12
        measured = {density(value): value for trace in panel.traces for value in _measured(trace, letter)}
        looks |= {
            "type": "log",
            "range": [log10(densest), log10(sparsest)],
            "tickvals": list(measured.values()),
            "ticktext": list(measured),
        }
    elif axis.kind == "share":
        looks |= {"tickvals": [0, 0.5, 1], "range": [-0.04, 1.04]}
    elif axis.kind == "distance":
        looks |= {"constrain": "domain"}
    elif axis.kind in ("category", "date", "log"):
        looks |= {"type": axis.kind}
    if axis.order:
        order = [*axis.order] if letter == "x" else [*reversed(axis.order)]
        looks |= {"categoryorder": "array", "categoryarray": order}
    if axis.from_zero:
        looks |= {"rangemode": "tozero"}
    return {**looks, **axis.looks}


def _measured(trace: Any, letter: str) -> Iterator[float]:
    """Yield the positive values of a trace's points; a line or a band without markers has no points."""
    if "markers" in (trace.mode or ""):
        yield from (float(value) for value in trace[letter] if value is not None and float(value) > 0)
