"""Two stores against each other: every result that both have, with its interval in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import count, method_name
from analysis.comparisons.stores import DIFFERS, ComparedPart
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose

HOVER_CHARACTERS = 48
SIZES = {True: 12, False: 7}  # of a mark whose result differs, and of the others


def stores_compared(parts: Sequence[ComparedPart]) -> go.Figure:
    """Draw each result of one store against that of the other, with their 95 % intervals, by measure.

    On the diagonal both are equal; above it, the second store's is higher. A large mark differs.

    Args:
        parts: as ``analysis.comparisons.stores.compare_parts`` returns them.
    """
    panels = (
        _panel(str(measure) if len(parts) == 1 else f"{part.a.title}: {measure}", rows, part.names)
        for part in parts
        for measure, rows in part.results.assign(panel=_titles(part.results)).groupby("panel", sort=False)
    )
    return compose(panels, " ".join(_summary(part) for part in parts), columns=2, panel_height=320)


def _titles(results: pd.DataFrame) -> pd.Series:
    """Name the panel of each result: its measure, or the paired differences of the measure."""
    return results["measure"].where(results["transfer"].notna(), "differences of " + results["measure"])


def _panel(title: str, rows: pd.DataFrame, names: tuple[str, str]) -> Panel:
    ends = rows[["a_mean", "a_low", "a_high", "b_mean", "b_low", "b_high"]]
    low, high = float(ends.min().min()), float(ends.max().max())
    equal = go.Scatter(
        x=[low, high],
        y=[low, high],
        mode="lines",
        line={"color": style.GREY, "width": 1.5, "dash": "dot"},
        hoverinfo="skip",
        meta={"band": True},
        showlegend=False,
    )
    x, y = (Axis(f"{style.text(name)} ({rows['unit'].iloc[0]})") for name in names)
    return Panel(title, [equal, *_traces(rows)], x, y)


def _traces(rows: pd.DataFrame) -> Iterator[go.Scatter]:
    for _, points in rows.groupby(["method", "transfer", "of"], dropna=False, sort=False):
        first = points.iloc[0]
        method = first["method"] if isinstance(first["method"], str) else ""
        start = first["transfer"] if isinstance(first["transfer"], str) else first["of"]
        look = style.line(method, start)
        name = style.text(f"{method_name(method)} {first['of']}".strip())
        yield go.Scatter(
            x=points["a_mean"],
            y=points["b_mean"],
            error_x=_bars(points, "a"),
            error_y=_bars(points, "b"),
            customdata=[_point(row) for _, row in points.iterrows()],
            hovertemplate="%{customdata[0]}",
            **{
                **look,
                "name": name,
                "legendgroup": name,
                "mode": "markers",
                "marker": {**look["marker"], "size": [SIZES[each == DIFFERS] for each in points["outcome"]]},
            },
        )


def _bars(points: pd.DataFrame, side: str) -> dict[str, object]:
    mean = points[f"{side}_mean"]
    ends = {"array": points[f"{side}_high"] - mean, "arrayminus": mean - points[f"{side}_low"]}
    return {"type": "data", **ends, "thickness": 1.2, "width": 3}


def _point(row: pd.Series) -> list[object]:
    """Return the result's sentence in lines, its density, and the stages of both stores."""
    sentence = "<br>".join(style.text(line) for line in wrap(row["sentence"], HOVER_CHARACTERS, break_long_words=False))
    keys = dict.fromkeys(f"{row['a_keys']},{row['b_keys']}".split(","))
    return [sentence, None if pd.isna(row["density"]) else row["density"], ",".join(keys)]


def _summary(part: ComparedPart) -> str:
    differing = int((part.results["outcome"] == DIFFERS).sum())
    return f"{part.a.title}: {count(len(part.results), 'result')} of {' and '.join(part.names)}; {differing} differ."
