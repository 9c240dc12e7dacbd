"""What made the results: the graph of stages by kind, and the machines with their time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from analysis.comparisons.labels import kind_name, rank
from analysis.frames.device_time import device_time
from analysis.frames.load import Frames
from analysis.frames.sections import sections
from analysis.page.stages import STATES, pending

_STEPS = {"pretrain": 0, "imported": 0, "round": 1, "train": 2}
_LAST_STEP = 3  # probes and landscapes read final trainings


def graph(frames: Frames) -> list[list[dict[str, Any]]]:
    """Return the kinds of stages by step, each step reading the results of the steps before it.

    Returns:
        Per kind its ``name``, ``done`` and ``planned`` stages, and how many are in each of ``STATES``.
    """
    done = Counter(frames.stages.loc[~frames.stages["superseded"], "kind"])
    open_ = Counter(pending(frames)[["kind", "state"]].itertuples(index=False, name=None))
    steps: dict[int, list[dict[str, Any]]] = {}
    for kind in sorted({*done, *(kind for kind, _ in open_)}, key=rank):
        states = {state: open_[kind, state] for state in STATES}
        node = {"name": kind_name(kind), "done": done[kind], "planned": done[kind] + sum(states.values()), **states}
        steps.setdefault(_STEPS.get(kind, _LAST_STEP), []).append(node)
    return [steps[step] for step in sorted(steps)]


def machines(frames: Frames) -> list[dict[str, str]]:
    """Return the machines that computed the results: rows of cells by heading, the longest time first.

    Device-hours count as in the figure of the cost (``analysis.frames.device_time``): without lost work.
    """
    parts = [device_time(section) for section in sections(frames)]
    if not parts:
        return []
    rows = pd.concat(parts)
    rows = rows.assign(
        host=rows["host"].fillna("not recorded"),
        processor=rows["processor"].fillna(""),
        begun=rows["finished"] - pd.to_timedelta(rows["seconds"].fillna(0.0), unit="s"),
    )
    grouped = rows.groupby(["host", "device", "processor"])
    table = grouped.agg(
        stages=("key", "size"), held=("held", "sum"), begun=("begun", "min"), finished=("finished", "max")
    )
    return [
        {
            "machine": row["host"],
            "device": f"{row['device']}, {row['processor']}".strip(", "),
            "stages": f"{row['stages']:,}",
            "device-hours": f"{row['held'] / 3600:.3g}",
            "from, UTC": f"{row['begun']:%Y-%m-%d %H:%M}",
            "until, UTC": f"{row['finished']:%Y-%m-%d %H:%M}",
        }
        for row in table.reset_index().sort_values("held", ascending=False).to_dict("records")
    ]
