"""Figures: each is a pure function from frames to a plotly figure; all share one style.

>>> from analysis import figures, load
>>> figures.accuracy_by_density(load("runs/mnist1d"))
"""

from analysis.figures.catalogue import CATALOGUE, Entry
from analysis.figures.results.accuracy_by_density import accuracy_by_density
from analysis.figures.results.against_published import against_published
from analysis.figures.results.barrier_by_density import barrier_by_density
from analysis.figures.results.barrier_curves import barrier_curves
from analysis.figures.results.differences import differences
from analysis.figures.results.landscape import landscape
from analysis.figures.results.pair_probes import pair_probes
from analysis.figures.results.results_table import results_table
from analysis.figures.results.starts_compared import signs_kept, signs_of_psi
from analysis.figures.signs.compared_tickets import comparison_figure
from analysis.figures.signs.density_by_layer import density_by_layer
from analysis.figures.signs.sign_agreement import sign_agreement
from analysis.figures.signs.sign_flips import sign_flips
from analysis.figures.signs.signs_flipped import signs_flipped
from analysis.figures.store.device_hours import device_hours
from analysis.figures.store.throughput import throughput
from analysis.figures.store.timeline import timeline

__all__ = [
    "CATALOGUE",
    "Entry",
    "accuracy_by_density",
    "against_published",
    "barrier_by_density",
    "barrier_curves",
    "comparison_figure",
    "density_by_layer",
    "device_hours",
    "differences",
    "landscape",
    "pair_probes",
    "results_table",
    "sign_agreement",
    "sign_flips",
    "signs_flipped",
    "signs_kept",
    "signs_of_psi",
    "throughput",
    "timeline",
]
