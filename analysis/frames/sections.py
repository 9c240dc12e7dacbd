"""Sections: one per data set, architecture and preset; their results are never averaged together."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.frames.load import Frames

SETTING = ["dataset", "architecture", "preset"]


@dataclass(frozen=True)
class Section:
    """The results of one data set, architecture and preset, all made with one recipe.

    Attributes:
        prefix: the title before a panel's own, if the store has several sections.
        frames: without superseded rows; frames without labels, such as events, hold the whole store.
    """

    dataset: str
    architecture: str
    preset: str
    frames: Frames
    prefix: str = ""

    @property
    def title(self) -> str:
        """The section's labels, for a reader."""
        return f"{self.dataset} · {self.architecture} · {self.preset}"

    @property
    def trainings(self) -> pd.DataFrame:
        """Final trainings, one row each, without twins: twins repeat a start, and serve stability only."""
        stages = self.frames.stages
        return stages[(stages["kind"] == "train") & ~stages["twin"]]

    def probed(self, probe: str, pair_probe: str | None = None) -> pd.DataFrame:
        """Return the probes of one kind of pair ("lmc", "stability" or "successive"), one row each.

        Args:
            pair_probe: a probe of the recipe, with its own columns; None: the barrier, with ``barrier_points``.
        """
        stages = self.frames.stages
        by = (stages["kind"] == "probe") if pair_probe is None else (stages["pair_probe"] == pair_probe)
        return stages[by & (stages["probe"] == probe)]


def sections(frames: Frames) -> list[Section]:
    """Return a store's sections by name, the default preset first."""
    rows = frames.stages.loc[~frames.stages["superseded"], SETTING].drop_duplicates().to_dict("records")
    settings = [{name: row[name] for name in SETTING} for row in rows]
    parts = [Section(**labels, frames=_restricted(frames, labels)) for labels in settings]
    parts = [replace(part, prefix=f"{part.title}: ") for part in parts] if len(parts) > 1 else parts
    return sorted(parts, key=lambda part: (part.dataset, part.architecture, part.preset != "sound"))


def _restricted(frames: Frames, labels: dict[str, str]) -> Frames:
    restricted: dict[str, Any] = {}
    for each in fields(frames):
        rows = getattr(frames, each.name)
        if isinstance(rows, pd.DataFrame) and set(SETTING) <= set(rows.columns):
            kept = np.logical_and.reduce([rows[name] == value for name, value in labels.items()])
            if "superseded" in rows:
                kept &= ~rows["superseded"].to_numpy(bool)
            restricted[each.name] = rows if kept.all() else rows[kept]
    return replace(frames, **restricted)
