"""Figures: one pure function from frames to a plotly figure per module; one style for all.

>>> from analysis import figures, load
>>> figures.accuracy_by_density(load("runs/mnist1d"))
"""

from analysis.figures.accuracy_by_density import accuracy_by_density
from analysis.figures.barrier_by_density import barrier_by_density
from analysis.figures.barrier_curves import barrier_curves
from analysis.figures.catalogue import CATALOGUE, Entry

__all__ = ["CATALOGUE", "Entry", "accuracy_by_density", "barrier_by_density", "barrier_curves"]
