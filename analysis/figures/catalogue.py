"""The report's figures, in order. To add a figure, write a module with its function, and add an entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import plotly.graph_objects as go

from analysis.figures.results.accuracy_by_density import accuracy_by_density
from analysis.figures.results.against_published import against_published
from analysis.figures.results.barrier_by_density import barrier_by_density
from analysis.figures.results.barrier_curves import barrier_curves
from analysis.figures.results.differences import differences
from analysis.figures.results.landscape import landscape
from analysis.figures.results.pair_probes import pair_probes
from analysis.figures.results.results_table import results_table
from analysis.figures.results.starts_compared import signs_kept, signs_of_psi
from analysis.figures.signs.density_by_layer import density_by_layer
from analysis.figures.signs.sign_agreement import sign_agreement
from analysis.figures.signs.sign_flips import sign_flips
from analysis.figures.signs.signs_flipped import signs_flipped
from analysis.figures.store.device_hours import device_hours
from analysis.figures.store.throughput import throughput
from analysis.figures.store.timeline import timeline
from analysis.frames.load import Frames

PAPERS_DENSITY = 0.09  # of figures 3b and 3c


@dataclass(frozen=True)
class Entry:
    """A figure of the report.

    Attributes:
        name: part of the figure's anchor and of its downloads' names.
        caption: how to read the figure: what is drawn, over which replicates, in which unit.
        place: "results" or "signs" (of tickets) draws the figure for every data set, architecture and preset; "store"
            draws one figure of the whole store.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Frames], go.Figure]
    place: Literal["results", "signs", "store"] = "results"


CATALOGUE = (
    Entry(
        "results_table",
        "Results at the sparsest density",
        "Test accuracy after the final training, in percent: mean ± one standard deviation over n trainings (number "
        "of chains).",
        results_table,
    ),
    Entry(
        "differences",
        "Every comparison",
        "Mean paired difference, in points, with its 95 % interval; each heading names the two sides. A filled circle "
        "supports the claim: its interval lies on the claim's side of 0. A diamond supports the reverse. An open "
        "circle supports neither: its interval includes 0, or one pair gives no interval. Higher accuracy is better, "
        "and a lower barrier.",
        differences,
    ),
    Entry(
        "accuracy_by_density",
        "Accuracy against density",
        "Test accuracy after the final training against density, the surviving share of the prunable weights: mean "
        "over trainings, with one standard deviation. The grey line is the dense network.",
        accuracy_by_density,
    ),
    Entry(
        "path_to_the_solution",
        "The path to the solution",
        "Test error (%) from the retrain solution (λ = 0) to the transfer's solution (λ = 1), at the probed density "
        "nearest to the paper's 0.09: mean over probes, with a band of one standard deviation. A hump is a barrier.",
        partial(barrier_curves, probe="lmc", near=PAPERS_DENSITY),
    ),
    Entry(
        "path_to_the_solution_elsewhere",
        "The path to the solution at the other densities",
        "As above, at every other probed density, sparsest first.",
        partial(barrier_curves, probe="lmc", apart_from=PAPERS_DENSITY),
    ),
    Entry(
        "path_between_sgd_seeds",
        "The path between two SGD seeds",
        "Test error (%) between two final trainings of one start that differ in their SGD seed alone, at the probed "
        "density nearest to the paper's 0.09: mean over probes, with a band of one standard deviation.",
        partial(barrier_curves, probe="stability", near=PAPERS_DENSITY),
    ),
    Entry(
        "path_between_sgd_seeds_elsewhere",
        "The path between two SGD seeds at the other densities",
        "As above, at every other probed density, sparsest first.",
        partial(barrier_curves, probe="stability", apart_from=PAPERS_DENSITY),
    ),
    Entry(
        "barrier_by_density",
        "Barriers against density",
        "Rise of the test error above the mean of its ends, on the straight path between two solutions: mean over "
        "probes, with one standard deviation. To the solution: from the retrain solution to the transfer's solution. "
        "Between two SGD seeds: a lower barrier is more stable.",
        barrier_by_density,
    ),
    Entry(
        "pair_probes",
        "Other probes of pairs",
        "Every number that a probe of --probes gives to a pair of solutions, with the probe's own name and unit: mean "
        "over probes against density, with one standard deviation. To the solution: the retrain solution and the "
        "transfer's solution. Between two SGD seeds: two final trainings of one start.",
        pair_probes,
    ),
    Entry(
        "landscape",
        "The error landscape through three solutions",
        "Test error in the plane through three solutions, shown by marks; batch-norm statistics are estimated anew at "
        "each point. Both axes are distances of weights, on one scale. A straight line between two marks is the path "
        "that a probe takes. Landscapes come from a recipe, or from python -m orchestrator.landscape.",
        landscape,
    ),
    Entry(
        "signs_kept",
        "Signs and ψ kept, magnitudes drawn anew",
        "A trained subnetwork with fresh magnitudes and its own signs and ψ, beside the subnetwork trained on "
        "(retrain) and a transfer of the signs alone: mean over trainings or probes against density, with one standard "
        "deviation. A network that stays in its basin keeps its accuracy and has low barriers.",
        signs_kept,
    ),
    Entry(
        "signs_of_psi",
        "The signs of ψ transferred too",
        "Signed transfer with ψ at scale 1 and shift 0.1 under the ticket's signs of ψ, beside signed transfer with "
        "fresh ψ: mean over trainings or probes against density, with one standard deviation.",
        signs_of_psi,
    ),
    Entry(
        "signs_flipped",
        "Accuracy against signs flipped",
        "A control: test accuracy after the final training of a signed transfer with a share of its signs flipped, "
        "one panel per density. Random signs stand at one half, the share expected to differ. Mean over trainings, "
        "with one standard deviation.",
        signs_flipped,
    ),
    Entry(
        "against_published",
        "Against published results",
        "Test accuracy (%) against density, with published series in grey. Published values come from the file of "
        "--published, with sources in the hover text; their conditions may differ from this store's.",
        against_published,
    ),
    Entry(
        "device_hours",
        "Cost",
        "Device time by start and kind of stage, and the mean time of one result computed from scratch. A stage counts "
        "with the attempt that made its result, or with all its epochs if that attempt resumed earlier ones; once per "
        "device of its gang; and in full if it shared a device. Lost work and results left out do not count.",
        device_hours,
    ),
    Entry(
        "device_hours_by_setting",
        "Cost of the whole store",
        "Device time by data set, architecture, preset and kind of stage, counted as above, one panel per device.",
        partial(device_hours, by="setting"),
        place="store",
    ),
    Entry(
        "throughput",
        "Throughput",
        "Images per second of training: the median over epochs, with a line from the slowest to the fastest epoch. "
        "A stage's first epoch includes its start-up. All devices of a gang count together.",
        throughput,
        place="store",
    ),
    Entry(
        "timeline",
        "Timeline",
        "Each bar is an attempt at a stage, from its hand-over to a worker until the driver saw its end, in the row of "
        "its node. Attempts without a result are hatched and have their own rows, since events name no node. Probes "
        "that one process ran together are one bar.",
        timeline,
        place="store",
    ),
    Entry(
        "sign_agreement",
        "Agreement of signs",
        "Share of equal signs among the weights that two tickets keep, against the first ticket's density: mean over "
        "chains. Dotted: the share that independent signs would give, with each layer's shares of plus and minus. "
        "Above: a ticket and the previous round, or the last round of its chain. Below: two chains, which differ in "
        "their initialisation, and two methods in one chain, which share the initialisation.",
        sign_agreement,
        "signs",
    ),
    Entry(
        "sign_flips",
        "Signs that flip in a round",
        "Percentage of a layer's surviving weights whose sign differs from the previous round: mean over chains. The "
        "first layer is on top.",
        sign_flips,
        "signs",
    ),
    Entry(
        "density_by_layer",
        "Density of each layer",
        "Surviving share of each layer's weights after each round, in percent: mean over chains. Pruning is global, so "
        "layers differ. The colour scale is logarithmic; the first layer is on top.",
        density_by_layer,
        "signs",
    ),
)
