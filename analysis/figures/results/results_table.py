"""Accuracies at the sparsest transferred density, in the shape of the paper's ImageNet tables."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import density, mean_sd, method_name, number, rank, transfer_name
from analysis.comparisons.measures import ACCURACY, numbers
from analysis.comparisons.statistics import at_last_round
from analysis.figures import style
from analysis.figures.panel import compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

COLUMNS = {"start": 13.0, "density": 6.0, "accuracy (%)": 8.2, "n": 5.2}  # shares of the width, for a phone's
SECTION = {"data set, architecture, preset": 13.0}
ROW_PIXELS, LINE_PIXELS = 26, 18
CELL_CHARACTERS = 16  # of a start, or a section, in one line on a phone


def results_table(frames: Frames) -> go.Figure:
    """Tabulate dense, retrain and every transfer by method: mean ± standard deviation, with n.

    One table serves all sections; several sections are named in a column. No trace if nothing was trained.
    """
    parts = sections(frames)
    entries = [(part, row) for part in parts for row in _rows(part).to_dict("records")]
    summary = " ".join(_summary(part) for part in parts)
    if not entries:
        return compose([], summary)
    alone = len(parts) == 1
    columns = COLUMNS if alone else {**SECTION, **COLUMNS}
    cells = [_cells(row) if alone else [part.title, *_cells(row)] for part, row in entries]
    look = {"align": "left", "line": {"color": style.GREY, "width": 0.5}, "font_size": 12, "height": ROW_PIXELS}
    table = go.Table(
        name="results",
        meta={"dataset": parts[0].dataset, "architecture": parts[0].architecture} if alone else {},
        columnwidth=list(columns.values()),
        header={"values": list(columns), "fill_color": style.translucent(style.GREY), **look},
        cells={
            "values": [[style.text(cell) for cell in column] for column in zip(*cells, strict=True)],
            "fill_color": "rgba(0,0,0,0)",
            **look,
        },
        customdata=[["", row["density"], row["accuracy_keys"]] for _, row in entries],
    )
    wrapped = 1 + sum(max(map(len, row)) // CELL_CHARACTERS for row in cells)  # on a phone, the header wraps too
    figure = style.dress(go.Figure(table), height=ROW_PIXELS * (len(cells) + 1) + LINE_PIXELS * wrapped + 12)
    figure.update_layout(margin={"l": 0, "r": 0, "t": 4, "b": 4}, meta={"summary": summary})
    return figure


def _rows(section: Section) -> pd.DataFrame:
    """Return the numbers of dense training and of each source's sparsest transferred round, by start and method."""
    table = numbers(section)
    table = table[table[f"{ACCURACY.name}_mean"].notna()]
    table = table[at_last_round(table) | (table["transfer"] == "dense")]
    return table.sort_values(["transfer", "method"], key=lambda labels: labels.fillna("").map(rank), kind="stable")


def _cells(row: dict[Any, Any]) -> list[str]:
    return [
        _start(row),
        density(row["density"]),
        mean_sd(row["accuracy_mean"], row["accuracy_sd"], digits=1),
        f"{row['accuracy_trainings']:.0f}"
        + (f"\N{NO-BREAK SPACE}({row['accuracy_chains']:.0f})" if row["accuracy_chains"] else ""),
    ]


def _start(row: dict[Any, Any]) -> str:
    name = f"{method_name(row['method'])} " if isinstance(row["method"], str) else ""
    return name + transfer_name(row["transfer"])


def _summary(section: Section) -> str:
    means = [f"{_start(row)} {number(row['accuracy_mean'])} %" for row in _rows(section).to_dict("records")]
    return f"{section.title}, accuracy at the sparsest density: {', '.join(means) or 'no final training is done yet'}."
