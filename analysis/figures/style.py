"""One style for all figures: colour shows the method, dash and marker show the transfer.

The colours are Okabe and Ito's, which colour-blind readers can tell apart: blue for AWS, vermilion for LRR. No figure
uses a method's colour for anything else. The page sets ink and grid (``templates/css/look.css``), so that one figure
serves light and dark.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from html import escape
from typing import Any
from zlib import crc32

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import METHODS, density, method_name, number, rank, sample, transfer_name
from analysis.comparisons.statistics import at_last_round

BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
VERMILION, ORANGE, PURPLE = "#D55E00", "#E69F00", "#CC79A7"
BROWN, RED = "#A6761D", "#DC3250"
GREY = "#808080"  # instead of the palette's black, which is invisible on a dark page

# Tol's muted colours, for further methods
_MORE = ("#44AA99", "#AA4499", "#999933", "#CC6677", "#8877DD", "#DDAA33", "#6699AA", "#BB8877", "#88AA55", "#AA88BB")
METHOD_COLOURS = {
    "aws": BLUE,
    "lrr": VERMILION,
    **dict(zip([name for name in METHODS if name not in ("aws", "lrr")], _MORE, strict=True)),
}
COLOURS_OF_OTHERS = (GREEN, PURPLE, ORANGE, SKY, BROWN, GREY)
"""For what is no method, such as devices."""
KIND_COLOURS = {
    "pretrain": PURPLE,
    "round": GREEN,
    "train": ORANGE,
    "imported": RED,
    "probe": SKY,
    "pair_probe": BROWN,
    "landscape": GREY,
}
FONT_SIZE = AXIS_TITLE_SIZE = 13
AXES: Mapping[str, Mapping[str, Any]] = {
    "x": {"zeroline": False, "showline": True, "ticks": "outside"},
    "y": {"zeroline": False, "automargin": True},
}
"""Looks of all axes, by letter."""
_DASHES_AND_MARKERS = {
    "signed": ("solid", "circle"),
    "retrain": ("dash", "square-open"),
    "mask": ("dot", "diamond"),
    "signed_psi_kept": ("longdash", "triangle-up"),
    "signed_psi_signs": ("dashdot", "triangle-down"),
    "random_signs": ("longdashdot", "x"),
    "shuffled": ("2px,6px", "cross"),
    "flipped_quarter": ("12px,6px", "star"),
    "permuted": ("8px,3px,2px,3px", "diamond-open"),
    "permuted_signed": ("8px,3px", "circle-open"),
    "rewound": ("4px,4px", "pentagon"),
}
_MORE_MARKERS = ("hexagon", "bowtie", "hourglass", "octagon", "star-square", "star-diamond")


def method_colour(method: str) -> str:
    """Return a method's colour: the same in every figure and report, also for a user's own method; grey without one."""
    return METHOD_COLOURS.get(method) or (_MORE[_pick(method, len(_MORE))] if method and method != "nan" else GREY)


def _pick(name: str, choices: int) -> int:
    return crc32(name.encode()) % choices


def translucent(hex_colour: str, alpha: float = 0.18) -> str:
    """Make a colour translucent, for bands."""
    red, green, blue = (int(hex_colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def text(label: str) -> str:
    """Escape text for plotly, which reads a subset of HTML."""
    return escape(label, quote=False)


def lines(summary: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield method, transfer and rows of each line of a panel, in the order of drawing and of the legend."""
    groups = [(str(rows["method"].iloc[0]), rows) for _, rows in summary.groupby(["method", "transfer"])]
    named = [(method, str(rows["transfer"].iloc[0]), rows) for method, rows in groups]
    yield from sorted(named, key=lambda each: (rank(each[0]), rank(each[1])))


def sparsest(summary: pd.DataFrame, unit: str) -> Iterator[str]:
    """Yield each line's mean at its source's sparsest density in words: "LRR retrain 61.20 % at density 0.107"."""
    for method, transfer, rows in lines(summary[at_last_round(summary)]):
        row = rows.iloc[0]
        mean = f"{number(float(row['mean']))} {unit}".strip()
        yield f"{method_name(method)} {transfer_name(transfer)} {mean} at density {density(float(row['density']))}"


def points(summary: pd.DataFrame, noun: str) -> list[list[object]]:
    """Return each point's ``customdata``: its replicates in words, its density, and its stages' keys.

    Args:
        summary: rows of ``analysis.comparisons.statistics.spread``.
        noun: what n counts: "training" or "probe".
    """
    return [
        [_over(row, noun), None if pd.isna(row["density"]) else row["density"], row["keys"]]
        for row in summary.to_dict("records")
    ]


def _over(row: dict[Hashable, Any], noun: str) -> str:
    lines = [] if pd.isna(row["density"]) else [f"density {density(row['density'])}"]
    if not pd.isna(row["sd"]):
        lines.append(f"standard deviation {number(row['sd'])}")
    if not pd.isna(row["low"]):
        lines.append(f"95 % interval {number(row['low'])} to {number(row['high'])}")
    return "<br>".join([*lines, sample(row["trainings"], row["chains"], noun)])


def line(method: str, transfer: str) -> dict[str, Any]:
    """Return style and name of one method's and transfer's line, as arguments of ``go.Scatter``."""
    default = ("solid", _MORE_MARKERS[_pick(transfer, len(_MORE_MARKERS))])
    dash, symbol = _DASHES_AND_MARKERS.get(transfer, default)
    shade = method_colour(method)
    name = text(f"{method_name(method)} {transfer_name(transfer)}")
    return {
        "name": name,
        "legendgroup": name,
        "meta": {"method": method, "transfer": transfer},
        "mode": "lines+markers",
        "line": {"color": shade, "dash": dash, "width": 2},
        "marker": {"color": shade, "symbol": symbol, "size": 7},
    }


def against_density(summary: pd.DataFrame, unit: str, noun: str) -> list[go.Scatter]:
    """Draw each method's and transfer's means against density, with one standard deviation.

    Args:
        summary: rows of ``analysis.comparisons.statistics.spread``.
        unit: of the means.
        noun: what n counts: "training" or "probe".
    """
    return [
        go.Scatter(
            x=rows["density"],
            y=rows["mean"],
            error_y=error_bars(rows["sd"]),
            customdata=points(rows, noun),
            hovertemplate=f"%{{y:.2f}} {unit}<br>%{{customdata[0]}}",
            **line(method, transfer),
        )
        for method, transfer, rows in lines(summary)
    ]


def error_bars(sd: pd.Series) -> dict[str, object]:
    """Return error bars of one standard deviation to both sides of each point."""
    return {"type": "data", "array": sd, "thickness": 1.2, "width": 3}


def band(
    x: Sequence[float], low: Sequence[float], high: Sequence[float], shade: str, of: Mapping[str, Any]
) -> go.Scatter:
    """Draw a band between two curves as one closed outline; it shows and hides with its line.

    Args:
        of: the line's arguments, from ``line``.
    """
    return go.Scatter(
        x=[*x, *reversed(x)],
        y=[*high, *reversed(low)],
        mode="lines",
        fill="toself",
        fillcolor=translucent(shade),
        line={"width": 0},
        hoverinfo="skip",
        legendgroup=of["legendgroup"],
        meta={**of["meta"], "band": True},
        showlegend=False,
    )


def dress(figure: go.Figure, *, height: int) -> go.Figure:
    """Give a figure the shared layout; its width is the page's."""
    top, bottom = 34, 90
    below_axis_title = -62 / (height - top - bottom)
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 52, "r": 12, "t": top, "b": bottom},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": FONT_SIZE},
        legend={
            "orientation": "h",
            "x": 0,
            "y": below_axis_title,
            "yanchor": "top",
        },  # on a phone, the legend's rows grow downwards
        hoverlabel={"align": "left"},
    )
    return figure.update_annotations(font_size=FONT_SIZE)
