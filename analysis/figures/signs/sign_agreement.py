"""Agreement of two tickets' signs, between rounds, chains and methods, against chance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import density, method_name, number, rank
from analysis.comparisons.statistics import KEY_DIGITS, spread
from analysis.figures import style
from analysis.figures.panel import DENSITY, Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

VALUE, CHANCE = "agreement_percent", "chance_agreement_percent"
PANELS = {
    "between the rounds of a chain": ("rounds_previous", "rounds_last"),
    "between chains and between methods": ("chains", "methods"),
}
NAMES = {
    "rounds_previous": "{method}, with the previous round",
    "rounds_last": "{method}, with the last round",
    "chains": "{method}, between chains",
    "methods": "{method} against {other}",
}
_LOOKS = {
    "rounds_previous": ("dash", "square"),
    "rounds_last": ("solid", "circle"),
    "chains": ("solid", "circle"),
    "methods": ("longdash", "diamond"),
}
_BY = ["pair", "method", "other_method", "round"]


def sign_agreement(frames: Frames) -> go.Figure:
    """Draw the percentage of equal signs among the weights that both tickets keep, with one standard deviation.

    Means are over pairs. Two panels per section; no traces if no two tickets can be compared.
    """
    parts = sections(frames)
    panels = [panel for part in parts for panel in _panels(part)]
    return compose(panels, " ".join(_summary(part) for part in parts), columns=1 if len(parts) == 1 else 2)


def _panels(section: Section) -> Iterator[Panel]:
    means, chances = _means(section, VALUE), _means(section, CHANCE)
    for title, kinds in PANELS.items():
        traces = [
            trace
            for kind, name, other, rows in _lines(means, kinds)
            for trace in _traces(kind, name, other, rows, _same(chances, kind, name, other))
        ]
        yield Panel(section.prefix + title, traces, DENSITY, Axis("equal signs (%)"))


def _traces(kind: str, name: str, other: str, rows: pd.DataFrame, chance: pd.DataFrame) -> Iterator[go.Scatter]:
    dash, symbol = _LOOKS[kind]
    shade = style.GREY if kind == "methods" else style.method_colour(name)
    label = _name(kind, name, other)
    shared: dict[str, Any] = {
        "legendgroup": style.text(label),
        "meta": {"pair": kind, **({} if kind == "methods" else {"method": name})},
    }
    yield go.Scatter(
        x=rows["density"],
        y=rows["mean"],
        error_y=style.error_bars(rows["sd"]),
        customdata=_points(rows),
        hovertemplate="%{y:.2f} %<br>%{customdata[0]}",
        name=style.text(label),
        mode="lines+markers",
        line={"color": shade, "dash": dash, "width": 2},
        marker={"color": shade, "symbol": symbol, "size": 7},
        **shared,
    )
    yield go.Scatter(
        x=chance["density"],
        y=chance["mean"],
        customdata=_points(chance),
        hovertemplate="chance: %{y:.2f} %<br>%{customdata[0]}",
        name=style.text(f"{label}: chance"),
        mode="lines",
        line={"color": shade, "dash": "dot", "width": 1.5},
        **shared,
    )


def _points(rows: pd.DataFrame) -> list[list[object]]:
    """Return each point's ``customdata``, and add the overlap of the masks."""
    overlaps = zip(rows["overlap_percent"], rows["chance_overlap_percent"], strict=True)
    return [
        [f"{over}<br>overlap of the masks {number(overlap)} %, by chance {number(chance)} %", at, keys]
        for (over, at, keys), (overlap, chance) in zip(style.points(rows, "pair"), overlaps, strict=True)
    ]


def _means(section: Section, value: str) -> pd.DataFrame:
    """Return ``spread`` over pairs of tickets.

    Pairs of chains share chains, so they have no interval, and the chains of both ends are counted.
    """
    rows = section.frames.agreement
    # a pair of chains belongs to no chain: pairs that share a first chain are no replicate of it
    cells = spread(rows.assign(chain=rows["chain"].mask(rows["pair"] == "chains")), _BY, value)
    both = pd.concat([rows[[*_BY, "key", "chain"]], rows[_BY].assign(key=rows["other_key"], chain=rows["other_chain"])])
    groups = both.assign(keys=both["key"].str[:KEY_DIGITS]).groupby(_BY)
    ends = groups.agg(chains=("chain", "nunique"), keys=("keys", lambda keys: ",".join(dict.fromkeys(keys))))
    overlaps = rows.groupby(_BY)[["overlap_percent", "chance_overlap_percent"]].mean()
    cells = cells.drop(columns=["chains", "keys"]).merge(ends.join(overlaps).reset_index(), on=_BY)
    cells.loc[cells["pair"] == "chains", ["low", "high"]] = float("nan")
    return cells


def _lines(means: pd.DataFrame, kinds: tuple[str, ...]) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Yield kind, methods and rows of each line, in the order of the legend."""
    lines = means[means["pair"].isin(kinds)][["pair", "method", "other_method"]].drop_duplicates()
    for kind, name, other in sorted(
        lines.itertuples(index=False, name=None), key=lambda line: (kinds.index(line[0]), rank(line[1]), rank(line[2]))
    ):
        yield kind, name, other, _same(means, kind, name, other)


def _same(means: pd.DataFrame, kind: str, name: str, other: str) -> pd.DataFrame:
    line = (means["pair"] == kind) & (means["method"] == name) & (means["other_method"] == other)
    return means[line].sort_values("density", ascending=False)


def _name(kind: str, name: str, other: str) -> str:
    return NAMES[kind].format(method=method_name(name), other=method_name(other))


def _summary(section: Section) -> str:
    means, chances = _means(section, VALUE), _means(section, CHANCE)
    shares = []
    for kind, name, other, rows in _lines(means, tuple(NAMES)):
        sparsest, chance = rows.iloc[-1], _same(chances, kind, name, other).iloc[-1]
        shares.append(
            f"{_name(kind, name, other)} {number(sparsest['mean'])} % (chance {number(chance['mean'])} %) at density "
            f"{density(sparsest['density'])}"
        )
    return f"{section.title}: equal signs, {'; '.join(shares) or 'no two tickets can be compared yet'}."
