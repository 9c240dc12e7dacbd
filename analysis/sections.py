"""The parts of a report that must never be mixed: one per data set, architecture and preset."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.load import Frames


@dataclass(frozen=True)
class Section:
    """The results of one data set, architecture and preset, all made with one recipe.

    Attributes:
        stages, probes: as in ``Frames``, without superseded rows.
    """

    dataset: str
    architecture: str
    preset: str
    stages: pd.DataFrame
    probes: pd.DataFrame

    @property
    def title(self) -> str:
        """The section in words."""
        return f"{self.dataset} · {self.architecture} · {self.preset}"

    @property
    def trainings(self) -> pd.DataFrame:
        """Final trainings, one row each. Twins are left out: they repeat a start, and serve stability only."""
        return self.stages[(self.stages["kind"] == "train") & ~self.stages["twin"]]

    def barriers(self, probe: str) -> pd.DataFrame:
        """Probes of one kind ("lmc" or "stability"), one row each, with ``barrier_points``."""
        return self.stages[(self.stages["kind"] == "probe") & (self.stages["probe"] == probe)]


def sections(frames: Frames) -> list[Section]:
    """The sections of a store by name; the default preset first."""
    by = ["dataset", "architecture", "preset"]
    stages = frames.stages[~frames.stages["superseded"]]
    probes = frames.probes[~frames.probes["superseded"]]
    found = []
    for (dataset, architecture, preset), rows in stages.groupby(by):
        own = probes["key"].isin(rows["key"])
        found.append(Section(str(dataset), str(architecture), str(preset), rows, probes[own]))
    return sorted(found, key=lambda part: (part.dataset, part.architecture, part.preset != "sound"))
