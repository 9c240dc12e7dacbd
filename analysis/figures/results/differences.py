"""Forest plot: every comparison as a difference with its 95 % interval, grouped by question."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.answers import comparisons
from analysis.comparisons.labels import count, density, method_name
from analysis.comparisons.sentences import NEGLIGIBLE, NOT_SHOWN, REVERSE, SHOWN, UNJUDGED
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

OUTCOMES = {
    SHOWN: "circle",
    REVERSE: "diamond",
    NEGLIGIBLE: "square",
    NOT_SHOWN: "circle-open",
    UNJUDGED: "circle-open-dot",
}
ROW_PIXELS, GAP_PIXELS = 22, 90
HOVER_CHARACTERS = 48


def differences(frames: Frames) -> go.Figure:
    """Draw a row per comparison that has a pair, under its question, sparsest first; a panel per section and measure.

    The marker says how the adjusted interval decides, and the colour is the method's. The bar is the 95 % interval; one
    pair has none.
    """
    parts = [(part, _rows(part)) for part in sections(frames)]
    panels = [
        (str(measure) if len(parts) == 1 else f"{part.title}: {measure}", rows)
        for part, compared in parts
        for measure, rows in compared.groupby("measure", sort=False)
    ]
    figure = compose(
        (_panel(title, rows) for title, rows in panels), " ".join(_summary(part, compared) for part, compared in parts)
    )
    figure.update_xaxes(zeroline=True, zerolinecolor=style.GREY, zerolinewidth=1.5)
    for place, (_, rows) in enumerate(panels, start=1):
        _put_under_questions(figure, rows, place)
    return figure


def _rows(section: Section) -> pd.DataFrame:
    """Return the comparisons with a pair; ``row`` names each in the figure's table, ``tick`` beside its line."""
    compared = comparisons(section)
    compared = compared[compared["pairs"] > 0]
    under = [method_name(name) if isinstance(name, str) else "" for name in compared["method"]]
    lines = list(zip(compared["title"], under, map(density, compared["density"]), strict=True))
    row = [f"{title}, {name}, density {at}" if name else f"{title}, density {at}" for title, name, at in lines]
    return compared.assign(row=row, tick=[f"{at} {name}".strip() for _, name, at in lines])


def _panel(title: str, rows: pd.DataFrame) -> Panel:
    x = Axis(f"difference ({rows['difference_unit'].iloc[0]})", from_zero=True)
    lines = len(rows) + rows["question"].nunique()
    return Panel(title, list(_traces(rows)), x, Axis("", "category"), GAP_PIXELS + ROW_PIXELS * lines)


def _traces(rows: pd.DataFrame) -> Iterator[go.Scatter]:
    for outcome, symbol in OUTCOMES.items():
        for _, points in rows[rows["outcome"] == outcome].groupby("method", dropna=False):
            name = points["method"].iloc[0]
            of = "" if pd.isna(name) else name
            label = style.text(f"{method_name(of)}, {outcome}" if of else outcome)
            yield go.Scatter(
                x=points["difference"],
                y=points["row"].map(style.text),
                error_x={"type": "data", "array": points["high"] - points["difference"], "thickness": 1.6, "width": 3},
                customdata=[_point(row) for _, row in points.iterrows()],
                hovertemplate="%{customdata[0]}",
                mode="markers",
                marker={"color": style.method_colour(of), "symbol": symbol, "size": 9},
                name=label,
                legendgroup=label,
                meta={"outcome": outcome, **({"method": name} if of else {})},
            )


def _point(row: pd.Series) -> list[object]:
    """Return the comparison's sentence in lines, its density, and the stages of both sides."""
    sentence = "<br>".join(style.text(line) for line in wrap(row["sentence"], HOVER_CHARACTERS, break_long_words=False))
    return [sentence, row["density"], f"{row['a_keys']},{row['b_keys']}"]


def _put_under_questions(figure: go.Figure, rows: pd.DataFrame, place: int) -> None:
    """Order the lines of a panel, and put a heading above the lines of each question."""
    order: list[str] = []
    ticks: dict[str, str] = {}
    for _, lines in rows.groupby("question", sort=False):
        heading = style.text(f"{lines['title'].iloc[0]}:")
        names = [style.text(name) for name in lines["row"]]
        ticks |= dict(zip(names, map(style.text, lines["tick"]), strict=True))
        order += [heading, *names]
        where = {"row": place, "col": 1, "xref": "x domain", "x": 0, "xanchor": "left", "y": heading}
        figure.add_annotation(text=f"<b>{heading}</b>", showarrow=False, font_size=13, **where)
    look = {"categoryarray": order, "tickvals": list(ticks), "ticktext": list(ticks.values())}
    figure.update_yaxes(**look, range=[len(order) - 0.5, -0.5], row=place, col=1)


def _summary(section: Section, compared: pd.DataFrame) -> str:
    if compared.empty:
        return f"{section.title}: nothing can be compared yet."
    counts = [f"{outcome} {int((compared['outcome'] == outcome).sum())}" for outcome in OUTCOMES]
    return f"{section.title}: {count(len(compared), 'comparison')}; {', '.join(counts)}."
