"""Learning curves: accuracy by epoch of the pruning rounds, and of the final trainings at the sparsest density."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import method_name, number, transfer_name
from analysis.comparisons.statistics import at_last_round, spread
from analysis.figures import style
from analysis.figures.panel import Axis, Panel, compose
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

SPLITS = {"train": "training images", "validation": "validation images", "test": "test images"}
MOST_POINTS = 60  # of a line: enough for its shape, and a page of many sections stays small


def learning_curves(frames: Frames) -> go.Figure:
    """Draw mean accuracy by epoch: rounds of all chains in a row, and final trainings at the sparsest density.

    A panel per split that is measured at more than one epoch; no traces without such a training.
    """
    drawn = [(part, _rounds(part), _trainings(part)) for part in sections(frames)]
    panels = [
        panel
        for part, rounds, trainings in drawn
        for panel in (
            *_panels(rounds, f"{part.prefix}rounds", "epoch since the initialisation"),
            *_panels(trainings, f"{part.prefix}final trainings", "epoch"),
        )
    ]
    return compose(panels, " ".join(_summary(part, rounds, last) for part, rounds, last in drawn), columns=2)


def _rounds(section: Section) -> pd.DataFrame:
    """Return the rows of round 0 and the rounds that lead to each chain's last, ``at`` epochs since the initialisation.

    A rewound round counts its epochs from where its schedule begins again, and a one-shot round begins at round 0.
    """
    rows = _of_chains(_measured(section))
    epochs = rows.groupby("key")["epoch"].agg(["min", "max"])
    trained = {str(key): int(n) for key, n in (epochs["max"] - epochs["min"] + 1).items()}
    before = _epochs_before(_of_chains(section.frames.stages), trained)
    rows = rows[rows["key"].isin(before)]
    before_it, first = (rows["key"].map(epoch).astype("float64") for epoch in (before, epochs["min"]))
    at = before_it + rows["epoch"] - first + 1
    return _thinned(rows.assign(transfer="", at=at), max(1, rows["round"].nunique()))


def _of_chains(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["kind"].isin(["pretrain", "round"]) & rows["round"].notna() & rows["method"].notna()]


def _epochs_before(stages: pd.DataFrame, epochs: Mapping[str, int]) -> dict[str, int]:
    """Return the epochs trained before each stage, by key, on the ways from round 0 to each chain's last round.

    Args:
        epochs: that each stage trained, by key; a missing one trained none.
    """
    rounds, inputs = (stages.set_index("key")[name].to_dict() for name in ("round", "inputs"))
    before: dict[str, int] = {}
    for last in stages.sort_values("round").groupby(["method", "chain"])["key"].last():
        way = [last]
        while upstream := [each for each in inputs[way[-1]].split(",") if rounds.get(each, inf) < rounds[way[-1]]]:
            way.append(max(upstream, key=rounds.__getitem__))
        trained = 0
        for key in reversed(way):
            before[key] = trained
            trained += epochs.get(key, 0)
    return before


def _trainings(section: Section) -> pd.DataFrame:
    """Return the rows of the final trainings without twins: dense, and those of each source's last round."""
    rows = _measured(section)
    rows = rows[(rows["kind"] == "train") & ~rows["twin"]]
    return _thinned(rows[rows["round"].isna() | at_last_round(rows)].assign(at=rows["epoch"]), 1)


def _measured(section: Section) -> pd.DataFrame:
    density = section.frames.stages.set_index("key")["density"]
    return section.frames.metrics.assign(density=section.frames.metrics["key"].map(density).astype("float64"))


def _thinned(rows: pd.DataFrame, trainings: int) -> pd.DataFrame:
    """Keep ``MOST_POINTS`` epochs of a line that runs over several trainings: the first, the last, and between them."""
    epochs = np.arange(1, int(rows["epoch"].max()) + 1) if len(rows) else np.arange(0)
    points = max(2, MOST_POINTS // trainings)
    kept = epochs[np.unique(np.linspace(0, len(epochs) - 1, points).astype(int))] if len(epochs) > points else epochs
    return rows[rows["epoch"].isin(kept) | (rows["epoch"] == rows.groupby("key")["epoch"].transform("max"))]


def _panels(rows: pd.DataFrame, title: str, axis: str) -> Iterator[Panel]:
    for split, images in SPLITS.items():
        means = _means(rows[rows["split"] == split])
        if (means.groupby(["method", "transfer"]).size() > 1).any():  # the test set is read once
            traces = [_trace(*line) for line in style.lines(means)]
            yield Panel(f"{title}, {images}", traces, Axis(axis), Axis("accuracy (%)"))


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    return spread(rows.assign(method=rows["method"].fillna("")), ["method", "transfer", "at"], "accuracy_percent")


def _trace(method: str, transfer: str, rows: pd.DataFrame) -> go.Scatter:
    look = style.line(method, transfer or "signed")
    name = style.text(_name(method, transfer))
    look |= {"name": name, "legendgroup": name, "meta": {"method": method, "transfer": transfer}}
    return go.Scatter(
        x=rows["at"],
        y=rows["mean"],
        customdata=style.points(rows, "training"),
        hovertemplate="epoch %{x}: %{y:.2f} %<br>%{customdata[0]}",
        **{**look, "marker": {**look["marker"], "size": 6, "maxdisplayed": 6}},
    )


def _name(method: str, transfer: str) -> str:
    return f"{method_name(method)} {transfer_name(transfer) if transfer else 'rounds'}".strip()


def _summary(section: Section, rounds: pd.DataFrame, trainings: pd.DataFrame) -> str:
    ends = [
        f"{_name(method, transfer)} {number(float(line['mean'].iloc[-1]))} % at epoch {line['at'].iloc[-1]:g}"
        for rows in (rounds, trainings)
        for method, transfer, line in style.lines(_means(rows[rows["split"] == "train"]))
    ]
    return f"{section.title}: accuracy on training images, {'; '.join(ends) or 'no epoch is done yet'}."
