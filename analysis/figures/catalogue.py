"""The figures of the report, in its order. A new one is a module with its function, and a line here."""

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

PAPERS_DENSITY = 0.09  # near which figures 3b and 3c were made


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
        "results_table",
        "Results at the sparsest density",
        "Test accuracy after the final training, in percent: mean ± one standard deviation over n trainings (in "
        "so many chains).",
        results_table,
    ),
    Entry(
        "differences",
        "Every comparison",
        "The mean paired difference, in points, of what each heading names, with its 95 % interval; one pair has "
        "none. A filled circle: the interval leaves out 0 on the claim's side; a diamond: on the other side; an open "
        "circle: it holds 0. A higher accuracy is better, and a lower barrier.",
        differences,
    ),
    Entry(
        "accuracy_by_density",
        "Accuracy against density",
        "Test accuracy after the final training against the surviving share of the prunable weights: mean over "
        "trainings, with one standard deviation. The grey line is the dense network.",
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
        "The same at every other probed density, sparsest first.",
        partial(barrier_curves, probe="lmc", apart_from=PAPERS_DENSITY),
    ),
    Entry(
        "path_between_sgd_seeds",
        "The path between two SGD seeds",
        "Test error (%) between two final trainings of one start that differ in their SGD seed only, at the probed "
        "density nearest to the paper's 0.09: mean over probes, with a band of one standard deviation.",
        partial(barrier_curves, probe="stability", near=PAPERS_DENSITY),
    ),
    Entry(
        "path_between_sgd_seeds_elsewhere",
        "The path between two SGD seeds at the other densities",
        "The same at every other probed density, sparsest first.",
        partial(barrier_curves, probe="stability", apart_from=PAPERS_DENSITY),
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
        "pair_probes",
        "What else pairs were probed for",
        "Each number that a probe of --probes gives to a pair of solutions, under its own name and with its own unit: "
        "mean over probes against density, with one standard deviation. To the solution: a transferred network and the "
        "retrained ticket. Between two SGD seeds: two final trainings of one start.",
        pair_probes,
    ),
    Entry(
        "landscape",
        "The error landscape through three solutions",
        "Test error in the plane through three trainings, which lie at their marks; batch-norm statistics are "
        "estimated anew at each point. Distances are those of the weights, on both axes alike. Straight lines between "
        "the marks are the paths that probes take. A recipe's landscapes, or those of python -m "
        "orchestrator.landscape.",
        landscape,
    ),
    Entry(
        "signs_kept",
        "Signs and ψ kept, magnitudes drawn anew",
        "A trained subnetwork whose magnitudes are drawn anew while its signs and ψ are kept, beside the subnetwork "
        "trained on (retrain) and a transfer of the signs alone: mean over trainings or probes against density, with "
        "one standard deviation. What stays in the basin keeps accuracy and has low barriers.",
        signs_kept,
    ),
    Entry(
        "signs_of_psi",
        "The signs of ψ transferred too",
        "Signed transfer whose ψ starts from scale 1 and shift 0.1 with the ticket's signs of ψ, beside signed "
        "transfer with fresh ψ: mean over trainings or probes against density, with one standard deviation.",
        signs_of_psi,
    ),
    Entry(
        "signs_flipped",
        "Accuracy against signs flipped",
        "A control: test accuracy after the final training from a signed transfer in which a share of the surviving "
        "signs was flipped, one panel per density. Random signs stand at one half, the share of them that is expected "
        "to differ. Mean over trainings, with one standard deviation.",
        signs_flipped,
    ),
    Entry(
        "against_published",
        "Against published results",
        "Test accuracy (%) against density, beside published series in grey. Those are as the file given with "
        "--published says, with their sources in the hover text, and may have been made under other conditions.",
        against_published,
    ),
    Entry(
        "device_hours",
        "What it cost",
        "Device time by start and kind of stage, and the mean of one result with everything it is made from. A stage "
        "counts with the attempt that made its result, or with all its epochs where that resumed earlier attempts, "
        "once for each device of its gang, and in full where stages shared a device; what was done in vain and results "
        "that were left out are not counted.",
        device_hours,
    ),
    Entry(
        "device_hours_by_setting",
        "What the whole store cost",
        "Device time by data set, architecture, preset and kind of stage, counted as above, one panel per device.",
        partial(device_hours, by="setting"),
        place="store",
    ),
    Entry(
        "throughput",
        "Throughput",
        "Images per second of each epoch of training: the median, with a line from the slowest to the fastest epoch. "
        "The first epoch of a stage has its start-up in it. All devices of a gang count together.",
        throughput,
        place="store",
    ),
    Entry(
        "timeline",
        "Timeline",
        "Each bar is an attempt at a stage, from when it was given to a worker to when its end was seen, on the node "
        "that made the result. Attempts that made none are hatched, in rows of their own, since events name no node. "
        "Probes that one process made together are one bar.",
        timeline,
        place="store",
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
