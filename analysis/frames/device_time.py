"""Device time of stages, and of a result computed from scratch.

A stage counts with the seconds of its committed attempt, once per device of its gang. If that attempt resumed earlier
ones, the stage counts with the seconds of all its epochs, if that is more; a part of an epoch before the resumed
checkpoint is unknown. Stages that shared a device count in full, so that their sum exceeds the device's time; a lower
bound divides each stage's time by the largest number of stages on the device at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from typing import Literal

import pandas as pd

from analysis.frames.sections import SETTING, Section

Result = Literal["accuracy", "lmc", "stability"]
_COLUMNS = ["key", "kind", *SETTING, "density", "device", "stages_beside", "held", "least"]
"""Of a stage that a result needs."""


def device_time(section: Section) -> pd.DataFrame:
    """Return a section's stages with ``held`` (device-seconds) and ``least`` (the lower bound for shared devices).

    Without copies of tickets from elsewhere, whose cost nobody knows: results from them have no cost from scratch.
    """
    rows = section.frames.stages
    rows = rows[rows["kind"] != "imported"]
    timed = section.frames.metrics.drop_duplicates(["key", "epoch"]).groupby("key")["seconds"].sum()
    seconds = rows["seconds"].clip(lower=rows["key"].map(timed).fillna(0.0))
    held = seconds * rows["ranks"].astype("float64")
    return rows.assign(
        held=held,
        least=held / (1.0 + rows["stages_beside"].astype("float64")),
        device=rows["device"].fillna("device not recorded"),
    )


def cost_of_results(stages: pd.DataFrame, device: str, result: Result) -> pd.DataFrame:
    """Return the mean cost of one result computed from scratch, for each method and transfer.

    Only results with all their stages known and on this device count: times of different devices are never added.

    Args:
        stages: from ``device_time``.
        result: "accuracy" of a final training (without twins), or the barrier of a probe: "lmc" or "stability".

    Returns:
        One row per method, transfer and stage that any of their results needs: the stage's ``key``, ``kind``,
        ``dataset``, ``architecture``, ``preset``, ``density``, ``device`` and ``stages_beside``; the results'
        ``method`` and ``transfer``, and their number ``results``; and ``held`` and ``least``, by how often the stage is
        needed, divided by that number.
    """
    if result == "accuracy":
        wanted = stages[(stages["kind"] == "train") & ~stages["twin"]]
    else:
        wanted = stages[(stages["kind"] == "probe") & (stages["probe"] == result)]
    inputs = {key: [up for up in joined.split(",") if up] for key, joined in stages[["key", "inputs"]].to_numpy()}
    on_device = set(stages.loc[stages["device"] == device, "key"])
    needed = []
    for (method, start), keys in wanted.groupby(["method", "transfer"], dropna=False)["key"]:
        closures = [closure for key in keys if (closure := _closure(key, inputs)) <= on_device]
        times = Counter(chain.from_iterable(closures))
        needed += [(method, start, key, often, len(closures)) for key, often in times.items()]
    rows = pd.DataFrame(needed, columns=["method", "transfer", "key", "often", "results"])
    rows = rows.astype({"method": "str", "transfer": "str", "key": "str", "often": "int64", "results": "int64"})
    costs = stages[_COLUMNS].merge(rows, on="key")
    share = costs.pop("often") / costs["results"]
    return costs.assign(held=costs["held"] * share, least=costs["least"] * share)


def _closure(key: str, inputs: Mapping[str, list[str]]) -> set[str]:
    """Return a stage and all its ancestors; an unknown stage has none."""
    closure, left = {key}, [key]
    while left:
        new = [up for up in inputs.get(left.pop(), []) if up not in closure]
        closure.update(new)
        left += new
    return closure
