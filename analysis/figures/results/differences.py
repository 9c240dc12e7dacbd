"""Every comparison as a difference with its 95 % interval: a forest plot, grouped by question (ours)."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.answers import NOT_SHOWN, REVERSE, SHOWN, comparisons
from analysis.comparisons.labels import count, density, method_name
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

OUTCOMES = {SHOWN: (style.GREEN, "circle"), REVERSE: (style.ORANGE, "diamond"), NOT_SHOWN: (style.GREY, "circle-open")}
ROW_PIXELS, GAP_PIXELS = 22, 90
HOVER_CHARACTERS = 48


def differences(frames: Frames) -> go.Figure:
    """A row per comparison that has a pair, under its question, the sparsest first; a panel per section and measure.

    Colour and marker tell whether the claim is shown, its reverse, or neither; one pair has no interval.
    """
    parts = [(part, _rows(part)) for part in sections(frames)]
    panels = [
        (str(measure) if len(parts) == 1 else f"{part.title}: {measure}", rows)
        for part, made in parts
        for measure, rows in made.groupby("measure", sort=False)
    ]
    figure = compose(
        (_panel(title, rows) for title, rows in panels), " ".join(_summary(part, made) for part, made in parts)
    )
    figure.update_xaxes(zeroline=True, zerolinecolor=style.GREY, zerolinewidth=1.5)
    for place, (_, rows) in enumerate(panels, start=1):
        _put_under_questions(figure, rows, place)
    return figure


def _rows(section: Section) -> pd.DataFrame:
    """The comparisons with a pair. ``row``: what each is called in the figure's table; ``tick``: beside its line."""
    made = comparisons(section)
    made = made[made["pairs"] > 0]
    under = [method_name(name) if isinstance(name, str) else "" for name in made["method"]]
    lines = list(zip(made["title"], under, map(density, made["density"]), strict=True))
    row = [f"{title}, {name}, density {at}" if name else f"{title}, density {at}" for title, name, at in lines]
    return made.assign(row=row, tick=[f"{at} {name}".strip() for _, name, at in lines])


def _panel(title: str, rows: pd.DataFrame) -> Panel:
    x = Axis("difference (points)", from_zero=True)
    lines = len(rows) + rows["question"].nunique()
    return Panel(title, list(_traces(rows)), x, Axis("", "category"), GAP_PIXELS + ROW_PIXELS * lines)


def _traces(rows: pd.DataFrame) -> Iterator[go.Scatter]:
    for outcome, (colour, symbol) in OUTCOMES.items():
        for _, found in rows[rows["outcome"] == outcome].groupby("method", dropna=False):
            name = found["method"].iloc[0]
            yield go.Scatter(
                x=found["difference"],
                y=found["row"].map(style.text),
                error_x={"type": "data", "array": found["high"] - found["difference"], "thickness": 1.6, "width": 3},
                customdata=[_point(row) for _, row in found.iterrows()],
                hovertemplate="%{customdata[0]}",
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 9},
                name=outcome,
                legendgroup=outcome,
                meta={"outcome": outcome, **({} if pd.isna(name) else {"method": name})},
            )


def _point(row: pd.Series) -> list[object]:
    """The comparison's sentence in lines, its density, and the stages of both sides."""
    said = "<br>".join(style.text(line) for line in wrap(row["sentence"], HOVER_CHARACTERS, break_long_words=False))
    return [said, row["density"], f"{row['a_keys']},{row['b_keys']}"]


def _put_under_questions(figure: go.Figure, rows: pd.DataFrame, place: int) -> None:
    """Order the lines of a panel, with a heading in a line of its own above those of each question."""
    order: list[str] = []
    ticks: dict[str, str] = {}
    for _, found in rows.groupby("question", sort=False):
        heading = style.text(f"{found['title'].iloc[0]}:")
        names = [style.text(name) for name in found["row"]]
        ticks |= dict(zip(names, map(style.text, found["tick"]), strict=True))
        order += [heading, *names]
        where = {"row": place, "col": 1, "xref": "x domain", "x": 0, "xanchor": "left", "y": heading}
        figure.add_annotation(text=f"<b>{heading}</b>", showarrow=False, font_size=13, **where)
    look = {"categoryarray": order, "tickvals": list(ticks), "ticktext": list(ticks.values())}
    figure.update_yaxes(**look, range=[len(order) - 0.5, -0.5], row=place, col=1)


def _summary(section: Section, made: pd.DataFrame) -> str:
    if made.empty:
        return f"{section.title}: nothing can be compared yet."
    shown, reverse, neither = (int((made["outcome"] == outcome).sum()) for outcome in OUTCOMES)
    return (
        f"{section.title}: of {count(len(made), 'comparison')}, {shown} show what is claimed, {reverse} the reverse, "
        f"and {neither} neither."
    )
