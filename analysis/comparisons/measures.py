"""Measures of a network after its final training, and the rows that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from analysis.frames.sections import Section


@dataclass(frozen=True)
class Measure:
    """A number of every training, or of every probe.

    Attributes:
        name: prefix of the measure's columns in ``analysis.comparisons.numbers``.
        column: of the frame ``stages``.
        title: what is measured, as it reads within a sentence.
        unit: of a value; differences are always in points.
        probe: kind of the probes that measure it; None: final trainings do.
        error: column with the standard error of each value's measurement, if known.
    """

    name: str
    column: str
    title: str
    unit: Literal["%", "points"]
    probe: Literal["lmc", "stability"] | None = None
    error: str | None = None

    def rows(self, section: Section) -> pd.DataFrame:
        """Return the section's stages that have the measure, one row each."""
        return section.barriers(self.probe) if self.probe else section.trainings


ACCURACY = Measure("accuracy", "test_accuracy_percent", "test accuracy", "%")
_BARRIER = ("barrier_points", "barrier_standard_error_points")
BARRIER = Measure("barrier", _BARRIER[0], "barrier to the solution", "points", "lmc", _BARRIER[1])
STABILITY = Measure("stability", _BARRIER[0], "barrier between SGD seeds", "points", "stability", _BARRIER[1])
MEASURES = (ACCURACY, BARRIER, STABILITY)
