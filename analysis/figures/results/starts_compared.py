"""Starts of the same tickets side by side: accuracy, stability and barrier to the solution against density."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import density, method_name, number, rank, transfer_name
from analysis.comparisons.measures import ACCURACY, BARRIER, STABILITY, Measure
from analysis.comparisons.statistics import spread
from analysis.figures import style
from analysis.figures.panel import DENSITY, Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

SHOWN = (ACCURACY, STABILITY, BARRIER)
IN_LINES = 4
"""Most starts that lines against density tell apart."""
ROW_PIXELS = 30


def signs_kept(frames: Frames) -> go.Figure:
    """Keep signs and psi, draw magnitudes anew: does the network stay in its basin (paper figure 2)?

    Draws retrain, signed transfer with psi kept, and signed transfer with fresh psi, as ``starts_compared`` does.
    """
    return starts_compared(frames, ["signed_psi_kept", "retrain", "signed"])


def signs_of_psi(frames: Frames) -> go.Figure:
    """Transfer the signs of psi too: does a signed transfer gain (paper figure 5)?

    Draws signed transfer with and without the signs of psi, as ``starts_compared`` does.
    """
    return starts_compared(frames, ["signed_psi_signs", "signed"])


def starts_compared(frames: Frames, transfers: Sequence[str]) -> go.Figure:
    """Draw the mean of each measure over seeds and chains, with one standard deviation, against density.

    A row of panels per measure, LRR beside AWS, for each method that trained the first transfer; no traces if none did.

    Args:
        transfers: the starts to draw; the first is the figure's subject.
    """
    parts = sections(frames)
    methods = {part.title: _methods(part, transfers[0]) for part in parts}
    panels = [
        _panel(part, name, measure, transfers) for part in parts for measure in SHOWN for name in methods[part.title]
    ]
    columns = {len(names) for names in methods.values() if names}
    # a row of panels shares its axis, which needs the same methods in all rows
    side_by_side = len(columns) == 1 and all(panel.traces for panel in panels)
    summary = " ".join(_summary(part, transfers, methods[part.title]) for part in parts)
    return compose(panels, summary, columns=max(columns) if side_by_side else 1, shared_y=side_by_side)


def accuracy_by_start(frames: Frames) -> go.Figure:
    """Draw the mean accuracy of every start over seeds and chains, with one standard deviation.

    A panel for each density at which more than ``IN_LINES`` starts of tickets were trained, sparsest first, beside the
    dense networks. All panels of a section have one order of starts: by their mean over methods in the first panel, the
    highest on top. No traces without any such density.
    """
    cells = [(part, *_many(part)) for part in sections(frames)]
    panels = [
        panel
        for part, starts, dense in cells
        if not starts.empty
        for panel in _panels_of_starts(part.prefix, starts, dense)
    ]
    summary = " ".join(_means_of_starts(part.title, starts) for part, starts, _ in cells)
    figure = compose(panels, summary, columns=2, shared_y=len({panel.y.order for panel in panels}) == 1)
    if len(panels) == 1:  # which has no title
        figure.update_xaxes(title_text=style.text(f"{panels[0].x.title} at {panels[0].title}"))
    return figure.update_layout(scattermode="group", scattergap=0.5)


def _many(section: Section) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the spread by method, start and density as written, where starts are many; and that of dense networks."""
    rows = section.trainings
    of_tickets = rows[rows["round"].notna() & rows["method"].notna()]
    of_tickets = of_tickets.assign(at=of_tickets["density"].map(density))  # rounds of tickets from elsewhere are theirs
    starts = of_tickets.groupby("at")["transfer"].nunique()
    of_tickets = of_tickets[of_tickets["at"].isin(starts.index[starts > IN_LINES])]
    dense = rows[rows["round"].isna() & rows["method"].isna()]
    spread_of_dense = spread(dense, ["transfer"], ACCURACY.column).assign(density=None)  # shown at each density
    return spread(of_tickets, ["method", "transfer", "at"], ACCURACY.column), spread_of_dense


def _panels_of_starts(prefix: str, starts: pd.DataFrame, dense: pd.DataFrame) -> Iterator[Panel]:
    sparsest_first = sorted(starts["at"].unique(), key=float)
    drawn = pd.concat([starts, dense.assign(at=sparsest_first[0])]).drop(columns="density")
    low, high = (drawn["mean"] - drawn["sd"].fillna(0)).min(), (drawn["mean"] + drawn["sd"].fillna(0)).max()
    margin = 0.05 * (high - low) or 1.0  # plotly's own range begins at 0 where markers are grouped
    x = Axis("test accuracy (%)", looks={"range": [low - margin, high + margin]})
    means = drawn.groupby([drawn["at"].map(sparsest_first.index), "transfer"])["mean"].mean().reset_index()
    means = means.sort_values(["at", "mean"], ascending=[True, False])
    order = tuple(style.text(transfer_name(start)) for start in dict.fromkeys(means["transfer"]))
    for at in sparsest_first:
        rows = starts[starts["at"] == at]
        traces = [_markers(name, rows[rows["method"] == name]) for name in sorted(rows["method"].unique(), key=rank)]
        if not dense.empty:
            traces.append(_markers("", dense))
        for trace in traces:
            trace.meta = {**trace.meta, "density": float(rows["density"].mean())}
        y = Axis("start", "category", order=order)
        yield Panel(f"{prefix}density {at}", traces, x, y, 40 + ROW_PIXELS * len(order))


def _markers(method: str, rows: pd.DataFrame) -> go.Scatter:
    """Draw a marker per start of a method, or of the dense networks, which have none."""
    name = style.text(method_name(method)) if method else "dense"
    return go.Scatter(
        x=rows["mean"],
        y=[style.text(transfer_name(start)) for start in rows["transfer"]],
        error_x=style.error_bars(rows["sd"]),
        customdata=style.points(rows, "training"),
        hovertemplate=f"{name}, %{{y}}: %{{x:.2f}} %<br>%{{customdata[0]}}<extra></extra>",
        mode="markers",
        marker={"color": style.method_colour(method), "size": 7},
        name=name,
        legendgroup=name,
        meta={"method": method} if method else {"transfer": "dense"},
        orientation="h",
        offsetgroup=name,
    )


def _means_of_starts(title: str, starts: pd.DataFrame) -> str:
    if starts.empty:
        return f"{title}: no density has more than {IN_LINES} starts."
    sparsest = min(starts["at"], key=float)
    means = [
        f"{method_name(method)} {transfer_name(start)} {number(row['mean'].iloc[0])} %"
        for method, start, row in style.lines(starts[starts["at"] == sparsest])
    ]
    return f"{title}: at density {sparsest}: {', '.join(means)}."


def _methods(section: Section, needed: str) -> list[str]:
    rows = section.trainings
    return sorted(rows.loc[rows["transfer"] == needed, "method"].dropna().unique(), key=rank)


def _panel(section: Section, name: str, measure: Measure, transfers: Sequence[str]) -> Panel:
    noun = "probe" if measure.probe else "training"
    cells = _cells(section, name, measure, transfers)
    traces = style.against_density(cells, measure.unit, noun)
    y = Axis("points", from_zero=True) if measure.probe else Axis(f"{measure.title} ({measure.unit})")
    return Panel(f"{section.prefix}{method_name(name)}, {measure.title}", traces, DENSITY, y)


def _cells(section: Section, name: str, measure: Measure, transfers: Sequence[str]) -> pd.DataFrame:
    rows = measure.rows(section)
    rows = rows[rows["transfer"].isin(transfers) & (rows["method"] == name) & rows["round"].notna()]
    return spread(rows, ["method", "transfer", "round"], measure.column, error=measure.error)


def _summary(section: Section, transfers: Sequence[str], methods: Sequence[str]) -> str:
    rows = section.trainings
    rounds = rows[rows["transfer"] == transfers[0]].groupby("method")["round"].max()
    sentences = []
    for name, measure in product(methods, SHOWN):
        cells = _cells(section, name, measure, transfers)
        cells = cells[cells["round"] == rounds[name]]
        lines = style.lines(cells)
        means = [f"{transfer_name(start)} {number(at['mean'].iloc[0])} {measure.unit}" for _, start, at in lines]
        if means:
            where = f"{method_name(name)} at density {density(cells['density'].mean())}"
            sentences.append(f"{where}, {measure.title}: {', '.join(means)}")
    return f"{section.title}: {'; '.join(sentences) or 'nothing to compare was trained'}."
