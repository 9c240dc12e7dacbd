"""Figures: one pure function from a section's frames to a plotly figure per module; one style for all."""

from analysis.figures.accuracy_by_density import accuracy_by_density
from analysis.figures.barrier_by_density import barrier_by_density
from analysis.figures.barrier_curves import barrier_curves

__all__ = ["accuracy_by_density", "barrier_by_density", "barrier_curves"]
