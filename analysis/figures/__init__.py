"""Figures: each is a pure function from frames to a plotly figure; all share one style.

>>> from analysis import figures, load
>>> figures.accuracy_by_density(load("runs/mnist1d"))

To add a figure, write a module with its function, import it here, and add an entry to catalogue.yaml.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import plotly.graph_objects as go
import yaml

from analysis.figures.results.accuracy_by_density import accuracy_by_density
from analysis.figures.results.across_data_sets import across_data_sets
from analysis.figures.results.against_published import against_published
from analysis.figures.results.barrier_curves import barrier_curves
from analysis.figures.results.differences import differences
from analysis.figures.results.landscape import landscape
from analysis.figures.results.learning_curves import learning_curves
from analysis.figures.results.probes_by_density import barrier_by_density, pair_probes
from analysis.figures.results.results_table import results_table
from analysis.figures.results.starts_compared import accuracy_by_start, signs_kept, signs_of_psi
from analysis.figures.results.stores_compared import stores_compared
from analysis.figures.signs.compared_tickets import comparison_figure
from analysis.figures.signs.layers_by_round import density_by_layer, sign_flips
from analysis.figures.signs.over_time import (
    psi_drift,
    sign_flips_over_time,
    sign_lock_in,
    signs_by_density,
    signs_over_time,
)
from analysis.figures.signs.sign_agreement import sign_agreement
from analysis.figures.signs.signs_flipped import signs_flipped
from analysis.figures.store.device_hours import device_hours
from analysis.figures.store.throughput import throughput
from analysis.figures.store.timeline import timeline
from analysis.frames.load import Frames

__all__ = [
    "CATALOGUE",
    "Entry",
    "accuracy_by_density",
    "accuracy_by_start",
    "across_data_sets",
    "against_published",
    "barrier_by_density",
    "barrier_curves",
    "comparison_figure",
    "density_by_layer",
    "device_hours",
    "differences",
    "landscape",
    "learning_curves",
    "pair_probes",
    "psi_drift",
    "results_table",
    "sign_agreement",
    "sign_flips",
    "sign_flips_over_time",
    "sign_lock_in",
    "signs_by_density",
    "signs_flipped",
    "signs_kept",
    "signs_of_psi",
    "signs_over_time",
    "stores_compared",
    "throughput",
    "timeline",
]


@dataclass(frozen=True)
class Entry:
    """A figure of the report.

    Attributes:
        name: part of the figure's anchor and of its downloads' names.
        caption: how to read the figure: what is drawn, over which replicates, in which unit.
        place: "results" or "signs" (of tickets) draws the figure for every data set, architecture and preset; "across"
            draws one figure that compares them, and "store" one about the sweep that computed them.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Frames], go.Figure]
    place: Literal["results", "signs", "across", "store"] = "results"


def _entry(name: str, draw: str = "", options: dict[str, Any] | None = None, **rest: Any) -> Entry:
    """Build an entry of catalogue.yaml; ``draw`` names a function of this package, by default the entry's name."""
    return Entry(name, draw=partial(globals()[draw or name], **(options or {})), **rest)


CATALOGUE = tuple(_entry(**entry) for entry in yaml.safe_load(Path(__file__).with_name("catalogue.yaml").read_bytes()))
"""The report's figures, in order."""
