"""Timeline: a Gantt chart of a store's sweeps, by node, from their events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import count, kind_name, rank
from analysis.comparisons.statistics import short_keys
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose
from analysis.frames.attempts import NOT_DONE, UNKNOWN, attempts, lanes
from analysis.frames.load import Frames

_TIME = "%Y-%m-%d %H:%M:%S"
_ENDINGS = {UNKNOWN: "no end recorded: it still runs, or was lost with its driver"}
_MARKS = {
    "failed": ("failed", "x", style.RED),
    "interrupted": ("interrupted", "square", style.GREY),
    "drained": ("machine about to stop", "triangle-down", style.SKY),
}
_LONGEST_ERROR = 160  # characters of a hover


def timeline(frames: Frames) -> go.Figure:
    """Draw a bar per attempt from its start to its end, by node and coloured by kind of stage.

    A node has as many rows as attempts ran there at once. Attempts without a result are hatched and have their own
    rows. One trace per kind of stage; one panel for each stretch of time between long pauses; no traces without events.
    """
    rows = attempts(frames)
    rows = rows.assign(row=_rows(rows))
    stretches = _stretches(rows)
    panels = [_panel(part) for part in stretches]
    most = max((len(panel.y.order) for panel in panels), default=0)
    figure = compose(panels, _summary(rows), panel_height=min(max(150, 70 + 22 * most), 720))
    return figure.update_layout(barmode="overlay", bargap=0.15)


def _rows(rows: pd.DataFrame) -> pd.Series:
    """Name the rows of the chart: a node's second lane is "node · 2"."""
    nodes = zip(rows["node"], lanes(rows), strict=True)
    return pd.Series([style.text(f"{node} · {lane + 1}" if lane else node) for node, lane in nodes], rows.index, "str")


def _stretches(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Split the attempts at each pause longer than all busy time together: bars beside such a pause are invisible."""
    until = rows["end"].cummax().shift()
    pause = rows["start"] - until
    pause = pause.where(pause > pd.Timedelta(0), pd.Timedelta(0))
    busy = rows["end"].max() - rows["start"].min() - pause.sum()
    return [part for _, part in rows.groupby((pause > busy).cumsum())]


def _panel(rows: pd.DataFrame) -> Panel:
    names = sorted(rows["kind"].unique(), key=rank)
    traces = [*(_bars(name, rows[rows["kind"] == name]) for name in names), *_marks(rows)]
    order = rows.assign(last=rows["node"] == NOT_DONE, length=rows["row"].str.len())
    order = order.sort_values(["last", "node", "length", "row"])
    title = f"{rows['start'].min():%Y-%m-%d %H:%M} to {rows['end'].max():%Y-%m-%d %H:%M} UTC"
    rows_axis = Axis("node", "category", order=list(order["row"].unique()))
    return Panel(title, traces, Axis("time (UTC)", "date"), rows_axis)


def _bars(name: str, rows: pd.DataFrame) -> go.Bar:
    label, shade = style.text(kind_name(name)), style.KIND_COLOURS.get(name, style.GREY)
    # an outline of the same colour keeps bars shorter than a pixel visible, and darkens where two bars meet
    marker: dict[str, Any] = {"color": shade, "line": {"color": shade, "width": 0.7}, "opacity": 0.8}
    if (rows["outcome"] != "done").any():
        marker["pattern"] = {"shape": ["" if outcome == "done" else "/" for outcome in rows["outcome"]]}
    return go.Bar(
        base=_as_text(rows["start"]),
        x=[round(length.total_seconds() * 1000) for length in rows["end"] - rows["start"]],
        y=list(rows["row"]),
        orientation="h",
        customdata=_points(rows),
        hovertemplate=f"%{{y}}<br>%{{base|{_TIME}}} to %{{x|{_TIME}}}<br>%{{customdata[0]}}",
        name=label,
        legendgroup=label,
        meta={"kind": name},
        marker=marker,
    )


def _marks(rows: pd.DataFrame) -> Iterator[go.Scatter]:
    at = {outcome: rows["end"].where(rows["outcome"] == outcome) for outcome in ("failed", "interrupted")}
    for mark, times in {**at, "drained": rows["drained"]}.items():
        marked = rows[times.notna()]
        if marked.empty:
            continue
        name, symbol, shade = _MARKS[mark]
        yield go.Scatter(
            x=_as_text(times.dropna()),
            y=list(marked["row"]),
            mode="markers",
            customdata=_points(marked),
            hovertemplate=f"{name}: %{{x|{_TIME}}}<br>%{{customdata[0]}}",
            name=name,
            legendgroup=name,
            meta={"event": mark},
            marker={"symbol": symbol, "size": 9, "color": shade, "line": {"color": style.GREY, "width": 0.5}},
        )


def _as_text(times: pd.Series) -> list[str]:
    """Write times for plotly, in UTC and to the millisecond."""
    return [f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03d}" for time in times]


def _points(rows: pd.DataFrame) -> list[list[object]]:
    columns = ["name", "stages", "attempt", "outcome", "error", "keys"]
    return [
        [_hover(*details), None, short_keys(keys.split(","))]
        for *details, keys in rows[columns].itertuples(index=False)
    ]


def _hover(name: str, stages: int, attempt: int, outcome: str, error: object) -> str:
    lines = [style.text(name if stages == 1 else f"{stages} probes at once, the first {name}")]
    if outcome != "done" or attempt > 1:
        lines.append(f"attempt {attempt}: {_ENDINGS.get(outcome, outcome)}")
    if isinstance(error, str):
        lines.append(style.text(error[:_LONGEST_ERROR]))
    return "<br>".join(lines)


def _summary(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "No events were kept."
    nodes = rows.loc[rows["node"] != NOT_DONE, "node"].nunique()
    outcomes = rows["outcome"].value_counts()
    also = [f"{n} {outcome}" for outcome, n in outcomes.items() if outcome != "done"]
    drained = int(rows["drained"].notna().sum())
    if drained:
        also.append(f"{drained} told that the machine was about to stop")
    done = f"{count(int(outcomes.get('done', 0)), 'attempt')} done on {count(nodes, 'node')}"
    return (
        f"{rows['start'].min():%Y-%m-%d %H:%M} to {rows['end'].max():%Y-%m-%d %H:%M} UTC: {', '.join([done, *also])}."
    )
