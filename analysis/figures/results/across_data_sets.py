"""Tickets across data sets: a matrix of the data set that a ticket is from against the one it is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import count, density, method_name, number, rank, sample, signed, transfer_name
from analysis.comparisons.measures import ACCURACY
from analysis.comparisons.statistics import difference, pairs, spread
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

ROW_PIXELS, LEAST_PIXELS = 56, 200
MISSING = "not computed"
SAME_DENSITY = 0.02
"""Relative difference of densities up to which tickets compare."""
SCALE = [[0.0, style.ORANGE], [0.5, "#F2F2F2"], [1.0, style.SKY]]
"""Below and above the dense networks. Text in black stands out from all of it, and no colour is a method's."""


@dataclass(frozen=True)
class Cell:
    """One cell of a matrix: tickets of one data set on another.

    Attributes:
        accuracy: a row of ``spread``.
        over_dense, over_own: differences to the target's dense networks, and to its own tickets of the same method,
            start, round and density, with their 95 % intervals in words; over_own is empty on the diagonal.
        gain: mean difference to the dense networks in points; None without any.
    """

    accuracy: Mapping[Any, Any]
    over_dense: str
    over_own: str
    gain: float | None


def across_data_sets(frames: Frames) -> go.Figure:
    """Draw, for each method and start, the accuracy of tickets by their data set and by the one that they train on.

    At the sparsest round that a ticket of another data set was trained at. The colour is the difference to the target's
    dense networks, since accuracies of different data sets do not compare. No traces without a ticket of another
    data set.
    """
    drawn: list[tuple[str, dict[tuple[str, str], Cell]]] = []
    parts = sections(frames)
    networks = dict.fromkeys((part.architecture, part.preset) for part in parts)
    for architecture, preset in networks:
        of_network = [part for part in parts if (part.architecture, part.preset) == (architecture, preset)]
        where = f"{architecture}, {preset}: " if len(networks) > 1 else ""
        for method, start in _series(of_network):
            title = f"{where}{method_name(method)} {transfer_name(start)}"
            drawn.append((title, _matrix(of_network, method, start)))
    summary = " ".join(_summary(title, cells) for title, cells in drawn)
    gains = [abs(cell.gain) for _, cells in drawn for cell in cells.values() if cell.gain is not None]
    sources, targets = (
        sorted({place[side] for _, cells in drawn for place in cells}, key=_own_first) for side in (0, 1)
    )
    panels = [_panel(title, cells, sources, targets) for title, cells in drawn]
    figure = compose(
        panels,
        summary or "No ticket was trained on another data set.",
        columns=2,
        panel_height=max(LEAST_PIXELS, ROW_PIXELS * len(sources)),
        shared_y=True,
    )
    if not panels:
        return figure
    most = max(gains, default=0.0) or 1.0
    layout = figure.layout
    below = -62 / (layout.height - layout.margin.t - layout.margin.b)
    bar = {"orientation": "h", "y": below, "yanchor": "top", "thickness": 10, "outlinewidth": 0}
    bar["title"] = {"text": "test accuracy − dense (points)", "side": "top", "font": {"size": 13}}
    figure.update_layout(height=layout.height + 40, margin={"b": layout.margin.b + 40})
    return figure.update_layout(coloraxis={"cmin": -most, "cmax": most, "colorscale": SCALE, "colorbar": bar})


def _own_first(source: str) -> tuple[bool, str]:
    """Sort the sweep's data sets before sources from elsewhere, such as "theirs:cifar10"."""
    return ":" in source, source


def own_method(label: str) -> str:
    """The method that found a ticket, of a label such as "aws@cifar10"."""
    return label.partition("@")[0]


def _series(parts: Sequence[Section]) -> list[tuple[str, str]]:
    """Every method and start that was trained from a ticket of another data set, in the figures' order."""
    pairs = {
        (own_method(method), start)
        for part in parts
        for method, start in _tickets(part, elsewhere=True)[["method", "transfer"]].itertuples(index=False, name=None)
    }
    return sorted(pairs, key=lambda each: (rank(each[0]), rank(each[1])))


def _tickets(part: Section, *, elsewhere: bool = False) -> pd.DataFrame:
    """Trainings from tickets, with their ``source``; ``elsewhere`` keeps those of tickets from elsewhere."""
    rows = part.trainings
    rows = rows[rows["method"].notna() & rows["round"].notna()]
    sources = rows["method"].map(lambda method: method.partition("@")[2]).astype("str")
    rows = rows.assign(source=sources.where(sources != "", part.dataset))
    return rows[sources != ""] if elsewhere else rows


def _matrix(parts: Sequence[Section], method: str, start: str) -> dict[tuple[str, str], Cell]:
    """The cells by source and target, at the sparsest round of each source's tickets that trained on another data set.

    A data set whose tickets trained nowhere else is shown at the round of the sweep's others.
    """
    rows = {part.dataset: _of(_tickets(part), method, start) for part in parts}
    across = pd.concat([_of(_tickets(part, elsewhere=True), method, start) for part in parts])
    last = across.groupby("source")["round"].max().to_dict()
    of_sweep = [round_ for source, round_ in last.items() if source in rows]  # these count their rounds alike
    cells = {}
    for part in parts:
        here = rows[part.dataset]
        own = here[here["source"] == part.dataset]
        for source, given in here.groupby("source"):
            round_ = last.get(source, max(of_sweep, default=given["round"].max()))
            at = given[given["round"] == round_]
            if at.empty:
                continue
            cells[str(source), part.dataset] = _cell(part, at, own if source != part.dataset else own.iloc[:0])
    return cells


def _of(rows: pd.DataFrame, method: str, start: str) -> pd.DataFrame:
    return rows[(rows["method"].map(own_method) == method) & (rows["transfer"] == start)]


def _cell(part: Section, rows: pd.DataFrame, own: pd.DataFrame) -> Cell:
    """Summarise one cell's trainings, and compare them with the dense networks and with the target's own tickets."""
    [accuracy] = spread(rows, ["transfer"], ACCURACY.column).to_dict("records")
    dense = part.trainings[part.trainings["transfer"] == "dense"]
    # a source from elsewhere counts its rounds by itself, so the round of the nearest density is compared
    apart = (own.groupby("round")["density"].transform("mean") - accuracy["density"]).abs()
    own = own[(apart == apart.min()) & (apart <= SAME_DENSITY * accuracy["density"])]
    over_dense = pairs(rows, dense, ACCURACY.column, [], ("seed",))
    gain = difference(over_dense, ("chain", "seed")).mean if len(over_dense) else None
    over_own = pairs(rows, own, ACCURACY.column, [])
    return Cell(
        accuracy,
        _words("dense", over_dense, ("chain", "seed")),
        _words("own tickets", over_own, ("chain",)),
        None if gain is None else round(gain, 4),
    )


def _words(name: str, paired: pd.DataFrame, replicates: Sequence[str]) -> str:
    """Write a difference with its interval, which takes several chains: "− dense +1.20 points, 95 % interval …"."""
    if paired.empty:
        return ""
    result = difference(paired, replicates)
    low, high = result.interval()
    if result.chains == 1:
        over = ", of one chain"
    elif not result.errors:
        over = ", against one dense training, which gives no interval"
    else:
        over = f", 95 % interval {signed(low)} to {signed(high)}"
    return f"− {name}: {signed(result.mean)} points{over}"


def _panel(title: str, cells: Mapping[tuple[str, str], Cell], sources: Sequence[str], targets: Sequence[str]) -> Panel:
    x, y = [style.text(name) for name in targets], [style.text(name) for name in sources]
    grid = [[cells.get((source, target)) for target in targets] for source in sources]
    label = style.text(title)
    colours = go.Heatmap(
        x=x,
        y=y,
        z=[[None if cell is None else cell.gain for cell in row] for row in grid],
        customdata=[[_point(cell) for cell in row] for row in grid],
        hovertemplate="tickets of %{y} on %{x}<br>%{customdata[0]}<extra></extra>",
        hoverongaps=False,
        coloraxis="coloraxis",
        xgap=2,
        ygap=2,
        name=label,
        legendgroup=label,
        showlegend=False,
    )
    return Panel(
        title,
        [colours, *_texts(cells, sources, targets, label)],
        Axis("trained on", "category", order=x),
        Axis("tickets of", "category", order=y),
    )


def _texts(
    cells: Mapping[tuple[str, str], Cell], sources: Sequence[str], targets: Sequence[str], label: str
) -> Iterator[go.Scatter]:
    """Write each cell's accuracy over its colour; a cell without a training says so, in the page's ink."""
    places: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
    for place in product(sources, targets):
        places[place in cells and cells[place].gain is not None].append(place)
    for coloured, some in places.items():
        if some:
            look = {"color": "black"} if coloured else {"color": style.GREY}
            yield go.Scatter(
                x=[style.text(target) for _, target in some],
                y=[style.text(source) for source, _ in some],
                text=[_short(cells.get(place)) for place in some],
                mode="text",
                textfont=look,
                hoverinfo="skip",
                meta={"band": True},  # the cells' own rows stand in the figure's table
                name=label,
                legendgroup=label,
                showlegend=False,
            )


def _point(cell: Cell | None) -> list[object]:
    """Return a cell's ``customdata``: its numbers in words, its density, and its stages' keys."""
    if cell is None:
        return ["", None, ""]
    return [_hover(cell), round(cell.accuracy["density"], 6), cell.accuracy["keys"]]


def _short(cell: Cell | None) -> str:
    """Write a cell: its accuracy with half its interval, and the number of chains."""
    if cell is None:
        return MISSING
    row = cell.accuracy
    several = row["chains"] > 1
    half = f" ± {number((row['high'] - row['low']) / 2, 1)}" if several else ""
    return f"{number(row['mean'], 1)}{half}<br>{count(row['chains'], 'chain')}"


def _hover(cell: Cell) -> str:
    row = cell.accuracy
    lowest, highest = ACCURACY.within
    low, high = max(row["low"], lowest), min(row["high"], highest)
    interval = f", 95 % interval {number(low)} to {number(high)}" if row["chains"] > 1 else ""
    lines = [f"test accuracy {number(row['mean'])} %{interval}", sample(row["trainings"], row["chains"])]
    return "<br>".join(filter(None, [*lines, f"density {density(row['density'])}", cell.over_dense, cell.over_own]))


def _summary(title: str, cells: Mapping[tuple[str, str], Cell]) -> str:
    """Name every cell, those that are missing too."""
    sources, targets = (sorted({place[side] for place in cells}) for side in (0, 1))
    words, densities = [], {density(cell.accuracy["density"]) for cell in cells.values()}
    for source, target in product(sources, targets):
        cell = cells.get((source, target))
        if cell is None:
            words.append(f"tickets of {source} on {target} {MISSING}")
            continue
        row = cell.accuracy
        more = "".join(f", {each}" for each in (cell.over_dense, cell.over_own) if each)
        at = f" at density {density(row['density'])}" if len(densities) > 1 else ""
        over = sample(row["trainings"], row["chains"])
        words.append(f"tickets of {source} on {target} {number(row['mean'])} %{at} ({over}){more}")
    shared = f" at density {densities.pop()}" if len(densities) == 1 else ""
    return f"{title}{shared}: {'; '.join(words)}."
