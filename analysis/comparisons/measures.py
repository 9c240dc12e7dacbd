"""What is measured of a network after its final training, and where a section keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from analysis.frames.sections import Section


@dataclass(frozen=True)
class Measure:
    """A number that every training, or every probe, has.

    Attributes:
        name: the start of its columns' names in ``analysis.comparisons.numbers``.
        column: of the frame ``stages``.
        title: what is measured, as it reads within a sentence.
        unit: of a value; a difference of values is always in points.
        probe: the kind of probe that it comes from; None: from final trainings.
        error: column with the standard error of a value's own measurement, where it is known.
    """

    name: str
    column: str
    title: str
    unit: Literal["%", "points"]
    probe: Literal["lmc", "stability"] | None = None
    error: str | None = None

    def rows(self, section: Section) -> pd.DataFrame:
        """The section's stages that have it, one row each."""
        return section.barriers(self.probe) if self.probe else section.trainings


ACCURACY = Measure("accuracy", "test_accuracy_percent", "test accuracy", "%")
_BARRIER = ("barrier_points", "barrier_standard_error_points")
BARRIER = Measure("barrier", _BARRIER[0], "barrier to the solution", "points", "lmc", _BARRIER[1])
STABILITY = Measure("stability", _BARRIER[0], "barrier between SGD seeds", "points", "stability", _BARRIER[1])
MEASURES = (ACCURACY, BARRIER, STABILITY)
