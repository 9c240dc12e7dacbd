"""Device time of stages, and what a result took from nothing.

A stage counts with the seconds of the attempt that was committed, once for each device of its gang; or, where that
resumed earlier ones, with those of all its epochs, if that is more. The part of an epoch before the checkpoint that was
resumed is not known then. Where stages shared a device, each counts in full, so that their sum is more than the
device's own time; the least it can have been, each divided by the stages that were on the device at the same time at
most, is kept beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pandas as pd

from analysis.frames.sections import Section

Result = Literal["accuracy", "lmc", "stability"]


def device_time(section: Section) -> pd.DataFrame:
    """The section's stages with ``held``, their device-seconds, and ``least``, if shared ones had their share only."""
    rows = section.frames.stages
    timed = section.frames.metrics.drop_duplicates(["key", "epoch"]).groupby("key")["seconds"].sum()
    seconds = rows["seconds"].clip(lower=rows["key"].map(timed).fillna(0.0))
    held = seconds * rows["ranks"].astype("float64")
    return rows.assign(
        held=held,
        least=held / (1.0 + rows["stages_beside"].astype("float64")),
        device=rows["device"].fillna("device not recorded"),
    )


def cost_of_results(stages: pd.DataFrame, device: str, result: Result) -> pd.DataFrame:
    """What one result of a kind took from nothing, as a mean over those of one method and transfer.

    Only results that were made on this device from the first stage to the last, and whose stages are all known: unlike
    devices are never summed.

    Args:
        stages: from ``device_time``.
        result: "accuracy" is a final training's (twins serve barriers only), the others are probes' barriers.

    Returns:
        The rows of ``stages`` that each result needed, itself among them, with the result's ``method`` and
        ``transfer``, how many ``results`` there are of these, and ``held`` and ``least`` divided by that.
    """
    if result == "accuracy":
        wanted = stages[(stages["kind"] == "train") & ~stages["twin"]]
    else:
        wanted = stages[(stages["kind"] == "probe") & (stages["probe"] == result)]
    inputs = {key: [up for up in said.split(",") if up] for key, said in stages[["key", "inputs"]].to_numpy()}
    on_device = set(stages.loc[stages["device"] == device, "key"])
    made = [(*labels, _made_from(labels[0], inputs)) for labels in wanted[["key", "method", "transfer"]].to_numpy()]
    needed = pd.DataFrame(
        [(result, method, start, key) for result, method, start, keys in made if keys <= on_device for key in keys],
        columns=["result", "method", "transfer", "key"],
    ).astype({"result": "str", "method": "str", "transfer": "str", "key": "str"})
    costs = stages.drop(columns=["method", "transfer"]).merge(needed, on="key")
    counted = costs.groupby(["method", "transfer"], dropna=False)["result"].transform("nunique")
    return costs.assign(results=counted, held=costs["held"] / counted, least=costs["least"] / counted)


def _made_from(key: str, inputs: Mapping[str, list[str]]) -> set[str]:
    """A stage and all that it was made from; one that is not known counts as itself."""
    found, left = {key}, [key]
    while left:
        new = [up for up in inputs.get(left.pop(), []) if up not in found]
        found.update(new)
        left += new
    return found
