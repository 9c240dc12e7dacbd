"""Barriers against density: to the solution above, between two final trainings of one start below."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures import style
from analysis.statistics import spread

PANELS = {"lmc": "barrier to the solution", "stability": "barrier between two SGD seeds"}


def barrier_by_density(stages: pd.DataFrame) -> go.Figure:
    """Mean barrier of each method and transfer over seeds and chains, with one standard deviation.

    Args:
        stages: ``Frames.stages`` of one section.

    Returns:
        A figure without traces where nothing was probed.
    """
    probes = stages[(stages["kind"] == "probe") & stages["round"].notna()]
    barriers = spread(probes, ["probe", "method", "transfer", "round"], "barrier_points")
    if barriers.empty:
        return go.Figure()
    panels = [probe for probe in PANELS if probe in set(barriers["probe"])]
    figure = make_subplots(
        rows=len(panels),
        vertical_spacing=0.5 / (len(panels) + 1),
        subplot_titles=[PANELS[probe] for probe in panels],
    )
    named: set[str] = set()
    for panel, probe in enumerate(panels, start=1):
        for method, transfer, rows in style.lines(barriers[barriers["probe"] == probe]):
            look = style.line(method, transfer)
            figure.add_trace(
                go.Scatter(
                    x=rows["density"],
                    y=rows["mean"],
                    error_y={"type": "data", "array": rows["sd"], "thickness": 1.2, "width": 3},
                    customdata=style.hover(rows, "probe"),
                    hovertemplate="%{y:.2f} points<br>%{customdata}",
                    showlegend=look["name"] not in named,
                    **look,
                ),
                row=panel,
                col=1,
            )
            named.add(str(look["name"]))
    style.dress(figure, height=150 + 260 * len(panels))
    style.density_axis(figure, list(barriers["density"]))
    figure.update_yaxes(title_text="points", rangemode="tozero")
    return figure
