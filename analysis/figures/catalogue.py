"""The figures of the report, in its order. A new one is a module with its function, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import plotly.graph_objects as go

from analysis.figures.accuracy_by_density import accuracy_by_density
from analysis.figures.barrier_by_density import barrier_by_density
from analysis.figures.barrier_curves import barrier_curves
from analysis.load import Frames


@dataclass(frozen=True)
class Entry:
    """A figure of the report.

    Attributes:
        name: of its downloads, and of the place on the page.
        caption: how to read it: what is drawn, over what, with which unit.
        place: once for every data set, architecture and preset ("results", and "signs" for what tickets hold), or
            once for the whole store ("store").
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Frames], go.Figure]
    place: Literal["results", "signs", "store"] = "results"


CATALOGUE = (
    Entry(
        "accuracy_by_density",
        "Accuracy against density",
        "Test accuracy after the final training against the surviving share of the prunable weights: mean over "
        "trainings, with one standard deviation. The grey line is the dense network.",
        accuracy_by_density,
    ),
    Entry(
        "barrier_by_density",
        "Barriers against density",
        "How far the error rises above its ends' mean on the straight path between two solutions: mean over probes, "
        "with one standard deviation. To the solution: from the retrained ticket to the transferred network. Between "
        "two SGD seeds: lower is more stable.",
        barrier_by_density,
    ),
    Entry(
        "path_to_the_solution",
        "The path to the solution",
        "Test error from the retrain solution (λ = 0) to the transfer's solution (λ = 1): mean over probes, with a "
        "band of one standard deviation.",
        partial(barrier_curves, probe="lmc"),
    ),
    Entry(
        "path_between_sgd_seeds",
        "The path between two SGD seeds",
        "Test error between two final trainings of one start that differ in their SGD seed only.",
        partial(barrier_curves, probe="stability"),
    ),
)
