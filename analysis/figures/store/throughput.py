"""Images per second of training, by kind of stage, architecture and device."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import count, kind_name, rank
from analysis.comparisons.statistics import short_keys
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import SETTING, Section, sections


def throughput(frames: Frames) -> go.Figure:
    """Draw the median over all epochs of a kind of stage, and the range from the slowest to the fastest epoch.

    The ranks of a gang count together. One panel per section, one colour per device; no traces without timed epochs.
    """
    parts = sections(frames)
    epochs = {part.title: _epochs(part) for part in parts}
    devices = sorted({device for rows in epochs.values() for device in rows["device"]})
    panels = [_panel(part, epochs[part.title], devices) for part in parts]
    rows_of_points = max((len(panel.y.order) for panel in panels), default=0)
    summary = " ".join(_summary(title, rows) for title, rows in epochs.items())
    return compose(panels, summary, panel_height=max(110, 60 + 30 * rows_of_points))


def _epochs(section: Section) -> pd.DataFrame:
    """Return one row per timed epoch, with its stage's device, and ``row``: the kind of stage and the gang's size."""
    timed = section.frames.metrics.drop_duplicates(["key", "epoch"])
    timed = timed[timed["images_per_second"].notna()]
    stages = section.frames.stages[["key", "device", "ranks", "stages_beside"]]
    rows = timed[["key", "kind", "images_per_second"]].merge(stages, on="key")
    gangs = [f", {ranks} devices" if ranks > 1 else "" for ranks in rows["ranks"]]
    named = [style.text(kind_name(name)) + gang for name, gang in zip(rows["kind"], gangs, strict=True)]
    return rows.assign(row=named, device=rows["device"].fillna("device not recorded"))


def _panel(section: Section, epochs: pd.DataFrame, devices: list[str]) -> Panel:
    rows_in_order = sorted(
        set(zip(epochs["kind"], epochs["ranks"], epochs["row"], strict=True)),
        key=lambda each: (rank(each[0]), each),
    )
    rows = Axis("kind of stage", "category", order=list(dict.fromkeys(row for _, _, row in rows_in_order)))
    traces = list(_traces(section, epochs, devices))
    return Panel(section.title, traces, Axis("images per second", from_zero=True), rows)


def _traces(section: Section, epochs: pd.DataFrame, devices: list[str]) -> Iterator[go.Scatter]:
    for device, cells in epochs.groupby("device"):
        speeds = cells.groupby("row")["images_per_second"]
        median, low, high = speeds.median(), speeds.min(), speeds.max()
        shade = style.COLOURS_OF_OTHERS[devices.index(str(device)) % len(style.COLOURS_OF_OTHERS)]
        name = style.text(str(device))
        yield go.Scatter(
            x=median,
            y=median.index,
            error_x={
                "type": "data",
                "symmetric": False,
                "array": high - median,
                "arrayminus": median - low,
                "thickness": 1.2,
                "width": 4,
            },
            customdata=[_point(rows) for _, rows in cells.groupby("row")],
            hovertemplate="%{y}: %{x:,.0f} images per second<br>%{customdata[0]}",
            name=name,
            legendgroup=name,
            meta={**{name: getattr(section, name) for name in SETTING}, "device": str(device)},
            mode="markers",
            marker={"color": shade, "size": 10},
        )


def _point(rows: pd.DataFrame) -> list[object]:
    stages = rows.drop_duplicates("key")
    speeds = rows["images_per_second"]
    hover = [
        f"{speeds.min():,.0f} to {speeds.max():,.0f}",
        f"n = {count(len(rows), 'epoch')} of {count(len(stages), 'stage')}",
    ]
    shared = int((stages["stages_beside"] > 0).sum())
    if shared:
        hover.append(f"{shared} shared a device")
    return ["<br>".join(hover), None, short_keys(stages["key"])]


def _summary(title: str, epochs: pd.DataFrame) -> str:
    medians = [
        f"{row} {rows['images_per_second'].median():,.0f} images per second on {device}"
        for (row, device), rows in epochs.groupby(["row", "device"])
    ]
    return f"{title}, median: {', '.join(medians) or 'no epoch was timed'}."
