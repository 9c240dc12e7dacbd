"""Attempts at stages, from the events of a store's sweeps: start, end, node and outcome of each."""

from __future__ import annotations

import pandas as pd

from analysis.frames.load import Frames

_ENDS = ("done", "failed", "interrupted")
NOT_DONE = "not done"
UNKNOWN = "no end recorded"


def attempts(frames: Frames) -> pd.DataFrame:
    """Return one row per attempt, by its start; probes that one process ran together are one row.

    Stages without a result must be planned to count. An attempt without a recorded end still runs, or was lost with its
    driver: its end is the next attempt at the stage, the stage's result, or the last event, whichever comes first.

    Returns:
        ``kind``, ``name`` (of the first stage), ``stages`` (their number), ``keys`` (comma-separated), ``attempt``,
        ``start`` and ``end`` (UTC), ``outcome`` ("done", "failed", "interrupted", or ``UNKNOWN``), ``error``,
        ``drained`` (when the attempt was told that its machine would stop) and ``node``: the host that made the result.
        Without a result, ``node`` is ``NOT_DONE``, since events name no host.
    """
    stages = pd.concat([frames.stages[["key", "kind", "host", "finished"]], frames.missing[["key", "kind"]]])
    events = frames.events.merge(stages.drop_duplicates("key"), on="key")
    starts = events[events["event"] == "started"].rename(columns={"time": "start"})
    ends = events[events["event"].isin(_ENDS)].rename(columns={"time": "end", "event": "outcome"})
    rows = starts[["key", "attempt", "start", "kind", "name", "host", "finished"]].merge(
        ends[["key", "attempt", "end", "outcome", "error", "seconds"]].drop_duplicates(["key", "attempt"]),
        on=["key", "attempt"],
        how="left",
    )
    rows = rows.sort_values("start", ignore_index=True)
    rows["end"] = rows["end"].fillna(_lost_at(rows, frames.events["time"].max()))
    rows["outcome"] = rows["outcome"].fillna(UNKNOWN)
    rows["node"] = rows["host"].where(rows["outcome"] == "done").fillna(NOT_DONE)
    return _together(rows.assign(drained=_drained_at(rows, events)))


def _lost_at(rows: pd.DataFrame, last: pd.Timestamp) -> pd.Series:
    """Return the latest possible end of each attempt."""
    following = rows.groupby("key")["start"].shift(-1)
    finished = rows["finished"].where(rows["finished"] > rows["start"])
    return pd.concat([following, finished], axis=1).min(axis=1).fillna(last)


def _drained_at(rows: pd.DataFrame, events: pd.DataFrame) -> pd.Series:
    """Return when each attempt was told to stop. The event names the stage: it is of the last attempt begun before."""
    drains = events.loc[events["event"] == "draining", ["key", "time"]].sort_values("time")
    begun = rows[["key", "start"]].assign(row=rows.index)
    matched = pd.merge_asof(drains, begun, left_on="time", right_on="start", by="key").dropna(subset="row")
    first = matched.astype({"row": "int64"}).groupby("row")["time"].min()
    return first.reindex(rows.index)


def _together(rows: pd.DataFrame) -> pd.DataFrame:
    """Merge the probes of one process: each has an equal share of the process's seconds, to the last digit."""
    shared = (rows["kind"] == "probe") & rows["seconds"].notna()
    alone = [f"{key}/{attempt}" for key, attempt in zip(rows["key"], rows["attempt"], strict=True)]
    group = (rows["node"] + "/" + rows["seconds"].astype("str")).where(shared, pd.Series(alone, rows.index))
    merged = rows.groupby(group, sort=False).agg(
        **{name: (name, "first") for name in ("kind", "name", "attempt", "outcome", "error", "drained", "node")},
        stages=("key", "size"),
        keys=("key", ",".join),
        start=("start", "min"),
        end=("end", "max"),
    )
    return merged.sort_values("start", ignore_index=True)


def lanes(rows: pd.DataFrame) -> pd.Series:
    """Give each attempt the lowest free lane of its node, from 0, so that no two attempts overlap.

    Args:
        rows: from ``attempts``, by their start.
    """
    free: dict[str, list[pd.Timestamp]] = {}
    chosen = []
    for node, start, end in zip(rows["node"], rows["start"], rows["end"], strict=True):
        ends = free.setdefault(node, [])
        lane = next((number for number, until in enumerate(ends) if until <= start), len(ends))
        ends[lane : lane + 1] = [end]
        chosen.append(lane)
    return pd.Series(chosen, rows.index, dtype="int64")
