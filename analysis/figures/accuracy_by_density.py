"""Test accuracy after the final training against density, for each start."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.figures import style
from analysis.statistics import spread
from analysis.words import sample


def accuracy_by_density(trainings: pd.DataFrame) -> go.Figure:
    """Mean accuracy of each method and transfer over seeds and chains, with one standard deviation.

    Args:
        trainings: ``Section.trainings``; the dense ones become a horizontal line with a band.

    Returns:
        A figure without traces where nothing was trained.
    """
    value = "test_accuracy_percent"
    sparse = trainings[trainings["round"].notna() & trainings["method"].notna()]
    accuracies = spread(sparse, ["method", "transfer", "round"], value)
    dense = spread(trainings[trainings["transfer"] == "dense"], ["transfer"], value)
    figure = go.Figure()
    densities = [*accuracies["density"]] or [1.0, 0.1]
    if not dense.empty:
        _add_dense(figure, dense.iloc[0], (max(densities) * 1.12, min(densities) / 1.12))
    for method, transfer, rows in style.lines(accuracies):
        figure.add_scatter(
            x=rows["density"],
            y=rows["mean"],
            error_y={"type": "data", "array": rows["sd"], "thickness": 1.2, "width": 3},
            customdata=style.hover(rows, "training"),
            hovertemplate="%{y:.2f} %<br>%{customdata}",
            **style.line(method, transfer),
        )
    style.dress(figure, height=440)
    style.density_axis(figure, densities)
    figure.update_yaxes(title_text="test accuracy (%)")
    return figure


def _add_dense(figure: go.Figure, dense: pd.Series, ends: tuple[float, float]) -> None:
    mean, sd = dense["mean"], dense["sd"]
    if sd > 0:
        figure.add_trace(style.band(list(ends), [mean - sd] * 2, [mean + sd] * 2, shade=style.GREY, group="dense"))
    figure.add_scatter(
        x=list(ends),
        y=[mean, mean],
        name="dense",
        legendgroup="dense",
        mode="lines",
        line={"color": style.GREY, "width": 2},
        hovertemplate="dense: %{y:.2f} %<br>" + sample(int(dense["trainings"]), 0),
    )
