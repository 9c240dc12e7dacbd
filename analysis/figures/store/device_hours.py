"""Device time by start and kind of stage, and of one result computed from scratch.

``analysis.frames.device_time`` defines device time, also of stages that shared a device. Times of different devices
are never added.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import count, density, kind_name, method_name, rank, transfer_name
from analysis.comparisons.statistics import short_keys
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose
from analysis.frames.device_time import Result, cost_of_results, device_time
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

_UNITS = ((3600.0, "device-hours"), (60.0, "device-minutes"), (1.0, "device-seconds"))
_RESULTS: Mapping[Result, str] = {
    "accuracy": "one accuracy, from scratch",
    "lmc": "one barrier to the solution, from scratch",
    "stability": "one barrier between two SGD seeds, from scratch",
}
_LABELS = {"start": ("method", "transfer"), "setting": ("dataset", "architecture", "preset")}
_ROW_HEIGHT = 26


def device_hours(frames: Frames, by: Literal["start", "setting"] = "start") -> go.Figure:
    """Draw bars of device time, in hours, or in minutes or seconds where a panel's bars are short.

    Args:
        by: "start" draws for each section and device a panel of all results, with a bar per method and transfer, and
            panels of one result's mean cost, with all stages that it needs. "setting" draws a panel per device with a
            bar per section, and nothing for a single section.
    """
    parts = [(part, device_time(part)) for part in sections(frames)]
    if by == "start":
        panels = [panel for part, rows in parts for panel in _by_start(rows, part.title if len(parts) > 1 else "")]
    else:
        panels = list(_by_setting(parts)) if len(parts) > 1 else []
    bars = max((len(panel.y.order) for panel in panels), default=0)
    summary = " ".join(_summary(part, rows) for part, rows in parts)
    return compose(panels, summary, panel_height=max(200, 70 + _ROW_HEIGHT * bars)).update_layout(barmode="stack")


def _by_setting(parts: list[tuple[Section, pd.DataFrame]]) -> Iterator[Panel]:
    stages = pd.concat([rows.assign(row=style.text(part.title)) for part, rows in parts])
    for device, rows in stages.groupby("device"):
        yield _panel(str(device), str(device), rows, "setting", [*rows["row"].unique()])


def _by_start(stages: pd.DataFrame, section: str) -> Iterator[Panel]:
    order = _order(stages)
    for device, rows in stages.groupby("device"):
        where = f"{section}: " if section else ""
        yield _panel(f"{where}all results", str(device), _named(rows), "start", order)
        for result, title in _RESULTS.items():
            costs = cost_of_results(stages, str(device), result)
            yield _panel(where + title, str(device), _named(costs), "start", order)


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    names = rows[["method", "transfer"]].drop_duplicates()
    names = names.assign(row=[_row(each) for each in names.to_dict("records")])
    return rows.merge(names, on=["method", "transfer"], how="left")  # a missing label equals a missing one


def _row(labels: Mapping[Hashable, Any]) -> str:
    name = "" if pd.isna(labels["method"]) else method_name(labels["method"])
    start = "pruning chains" if pd.isna(labels["transfer"]) else transfer_name(labels["transfer"])
    return style.text(f"{name} {start}".strip())


def _order(stages: pd.DataFrame) -> list[str]:
    """Return the rows from the top: dense, then each method's chains and transfers."""
    labels = stages[["method", "transfer"]].drop_duplicates().to_dict("records")
    # dense trainings have no method, and stages of a chain no transfer: a missing label comes first
    places = {
        _row(each): [("",) if pd.isna(label) else ("x", *rank(label)) for label in each.values()] for each in labels
    }
    return sorted(places, key=lambda row: places[row])


def _panel(title: str, device: str, rows: pd.DataFrame, of: str, order: list[str]) -> Panel:
    """Draw a bar per row, with a segment per kind of stage in the order of computation."""
    longest = rows.groupby("row")["held"].sum().max()
    seconds, unit = next(each for each in _UNITS if each[0] == 1 or longest >= 2 * each[0])
    cells = [(str(row), str(name), each) for (row, name), each in rows.groupby(["row", "kind"])]
    cells.sort(key=lambda cell: rank(cell[1]))
    traces = [_bar(row, name, each, _shared(each, of), seconds, unit) for row, name, each in cells]
    present = set(rows["row"])
    axis = Axis(of, "category", order=[row for row in order if row in present])
    return Panel(title, traces, Axis(style.text(f"{unit} on {device}"), from_zero=True), axis)


def _shared(rows: pd.DataFrame, of: str) -> dict[str, Any]:
    """Return the labels that all stages of a bar share."""
    return {label: rows[label].iloc[0] for label in _LABELS[of] if not pd.isna(rows[label].iloc[0])}


def _bar(row: str, name: str, cells: pd.DataFrame, meta: Mapping[str, Any], seconds: float, unit: str) -> go.Bar:
    """Draw one kind of stage's segment of a bar; with a column ``results``, its length is a mean over results."""
    label = style.text(kind_name(name))
    stages = cells.drop_duplicates("key")
    hover = [label]
    if "results" in cells:
        hover.append(f"n = {count(int(cells['results'].iloc[0]), 'result')}")
        down_to = "" if cells["density"].isna().all() else f", down to density {density(cells['density'].min())}"
        hover.append(f"mean, over {count(len(stages), 'stage')} computed for them{down_to}")
    else:
        hover.append(f"n = {count(len(stages), 'stage')}")
    shared = int((stages["stages_beside"] > 0).sum())
    if shared:
        hover.append(f"{shared} shared a device: at least {cells['least'].sum() / seconds:.3g}")
    return go.Bar(
        x=[cells["held"].sum() / seconds],
        y=[row],
        orientation="h",
        customdata=[["<br>".join(hover), None, short_keys(stages["key"])]],
        hovertemplate=f"%{{y}}<br>%{{x:.3g}} {unit}<br>%{{customdata[0]}}",
        name=label,
        legendgroup=label,
        meta={**meta, "kind": name},
        marker={"color": style.KIND_COLOURS.get(name, style.GREY)},
    )


def _summary(section: Section, stages: pd.DataFrame) -> str:
    costs = []
    for device, rows in stages.groupby("device"):
        hours, least = rows["held"].sum() / 3600, rows["least"].sum() / 3600
        shared = f" (at least {least:.3g}, as some shared a device)" if least < hours else ""
        costs.append(f"{count(len(rows), 'stage')} took {hours:.3g} device-hours{shared} on {device}")
    return f"{section.title}: {'; '.join(costs)}."
