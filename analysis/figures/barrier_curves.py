"""Test error along the straight path between two solutions, LRR beside AWS, one row of panels per density."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures import style
from analysis.statistics import spread
from analysis.words import density, rank
from analysis.words import method as method_words


def barrier_curves(probes: pd.DataFrame, probe: str) -> go.Figure:
    """Mean error at each lambda over seeds and chains, with a band of one standard deviation.

    Args:
        probes: ``Frames.probes`` of one section.
        probe: "lmc" (lambda 0: the retrain solution, 1: the transfer's) or "stability" (two final trainings).

    Returns:
        A figure without traces where nothing was probed.
    """
    points = probes[(probes["probe"] == probe) & probes["round"].notna()]
    curves = spread(points, ["round", "method", "transfer", "lambda"], "error_percent")
    if curves.empty:
        return go.Figure()
    rounds = sorted(curves["round"].unique(), reverse=True)
    methods = sorted(curves["method"].unique(), key=rank)
    densities = curves.groupby("round")["density"].mean()
    figure = make_subplots(
        rows=len(rounds),
        cols=len(methods),
        shared_yaxes=True,
        horizontal_spacing=0.04,
        vertical_spacing=0.2 / len(rounds),
        subplot_titles=[
            f"{style.text(method_words(m))}, density {density(densities[r])}" for r in rounds for m in methods
        ],
    )
    named: set[str] = set()
    for row, round_ in enumerate(rounds, start=1):
        for method, transfer, curve in style.lines(curves[curves["round"] == round_]):
            place = {"row": row, "col": methods.index(method) + 1}
            look = style.line(method, transfer)
            shade, name = style.colour(method, transfer), str(look["name"])
            sd = curve["sd"].fillna(0)
            figure.add_trace(
                style.band(
                    list(curve["lambda"]), list(curve["mean"] - sd), list(curve["mean"] + sd), shade=shade, group=name
                ),
                **place,
            )
            figure.add_trace(
                go.Scatter(
                    x=curve["lambda"],
                    y=curve["mean"],
                    customdata=style.hover(curve, "probe"),
                    hovertemplate="λ = %{x:.2f}: %{y:.2f} %<br>%{customdata}",
                    showlegend=name not in named,
                    **look,
                ),
                **place,
            )
            named.add(name)
    style.dress(figure, height=150 + 260 * len(rounds))
    figure.update_xaxes(tickvals=[0, 0.5, 1], range=[-0.04, 1.04])
    figure.update_xaxes(title_text="λ", row=len(rounds))
    figure.update_yaxes(title_text="test error (%)", col=1)
    return figure
