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
from analysis.figures.density_by_layer import density_by_layer
from analysis.figures.sign_agreement import sign_agreement
from analysis.figures.sign_flips import sign_flips
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
    Entry(
        "sign_agreement",
        "Agreement of signs",
        "Of the weights that two tickets both keep, the share with the same sign, against the first ticket's density: "
        "mean over chains. Dotted: what independent signs would give, with each layer's shares of plus and minus. "
        "Above: a ticket and the round before it, or the last of its chain. Below: tickets of two chains, which differ "
        "in their initialisation, and of two methods in one chain, which share it.",
        sign_agreement,
        "signs",
    ),
    Entry(
        "sign_flips",
        "Signs that flip in a round",
        "Of the weights of a layer that a round keeps, the percentage whose sign is another one than the round before: "
        "mean over chains. The first layer is on top.",
        sign_flips,
        "signs",
    ),
    Entry(
        "density_by_layer",
        "Density of each layer",
        "Surviving share of each layer's weights after each round, in percent: mean over chains. Pruning is global, so "
        "layers differ. Colours change alike with every factor; the first layer is on top.",
        density_by_layer,
        "signs",
    ),
)
