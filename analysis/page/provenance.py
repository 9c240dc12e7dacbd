"""Provenance of the results: presets, commits, devices and package versions, with the number of stages each."""

from __future__ import annotations

import pandas as pd

from analysis.comparisons.labels import count
from analysis.frames.load import Frames


def provenance(frames: Frames) -> dict[str, list[str]]:
    """Return lines by heading; "not recorded" stands for a missing value."""
    stages = frames.stages
    dirty = (" with uncommitted changes " + stages["git_dirty_blake2b"]).fillna("")
    packages = frames.packages.groupby("package")["version"].unique()
    return {
        "Preset": _counted(stages["preset"]),
        "Git commit": _counted(stages["git_commit"].fillna("not recorded") + dirty),
        "Device": _counted(stages["device"].fillna("not recorded")),
        "Host": _counted(stages["host"].fillna("not recorded")),
        "Python": _counted(stages["python"].fillna("not recorded")),
        "Packages": [f"{package} {' and '.join(sorted(versions))}" for package, versions in packages.items()],
    }


def _counted(values: pd.Series) -> list[str]:
    return [f"{value} ({count(int(n), 'stage')})" for value, n in values.value_counts().items()]
