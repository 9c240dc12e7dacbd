"""Attempts at stages, put together from the events of a store's sweeps: when each began and ended, where, and how."""

from __future__ import annotations

import pandas as pd

from analysis.frames.load import Frames

_ENDS = ("done", "failed", "interrupted")
NOT_DONE = "not done"
UNKNOWN = "no end recorded"


def attempts(frames: Frames) -> pd.DataFrame:
    """One row per attempt, by its start; probes that one process made together are one row.

    Only attempts at stages that have a result or are planned. An attempt without an end was lost with its driver, or
    still runs: it lasts to whatever comes first of the next attempt at its stage, that stage's result, and the last
    event.

    Returns:
        ``kind``, ``name`` (of the first stage), ``stages`` (how many), ``keys`` (with commas), ``attempt``, ``start``
        and ``end`` (UTC), ``outcome`` ("done", "failed", "interrupted", or ``UNKNOWN``), ``error``, ``drained`` (when
        it was told to stop because its machine was about to go) and ``node``: the host that made the result. Where
        there is no result it is ``NOT_DONE``, since events name no host.
    """
    known = pd.concat([frames.stages[["key", "kind", "host", "finished"]], frames.missing[["key", "kind"]]])
    events = frames.events.merge(known.drop_duplicates("key"), on="key")
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
    """Until when an attempt without an end may have lasted."""
    following = rows.groupby("key")["start"].shift(-1)
    finished = rows["finished"].where(rows["finished"] > rows["start"])
    return pd.concat([following, finished], axis=1).min(axis=1).fillna(last)


def _drained_at(rows: pd.DataFrame, events: pd.DataFrame) -> pd.Series:
    """When each attempt was told to stop: the event names the stage only, and so is of the last one begun before."""
    drains = events.loc[events["event"] == "draining", ["key", "time"]].sort_values("time")
    begun = rows[["key", "start"]].assign(row=rows.index)
    found = pd.merge_asof(drains, begun, left_on="time", right_on="start", by="key").dropna(subset="row")
    first = found.astype({"row": "int64"}).groupby("row")["time"].min()
    return first.reindex(rows.index)


def _together(rows: pd.DataFrame) -> pd.DataFrame:
    """Probes of one process have the very same seconds, to the last digit: each an equal share of what it took."""
    shared = (rows["kind"] == "probe") & rows["seconds"].notna()
    alone = [f"{key}/{attempt}" for key, attempt in zip(rows["key"], rows["attempt"], strict=True)]
    group = (rows["node"] + "/" + rows["seconds"].astype("str")).where(shared, pd.Series(alone, rows.index))
    found = rows.groupby(group, sort=False).agg(
        kind=("kind", "first"),
        name=("name", "first"),
        stages=("key", "size"),
        keys=("key", ",".join),
        attempt=("attempt", "first"),
        start=("start", "min"),
        end=("end", "max"),
        outcome=("outcome", "first"),
        error=("error", "first"),
        drained=("drained", "first"),
        node=("node", "first"),
    )
    return found.sort_values("start", ignore_index=True)


def lanes(rows: pd.DataFrame) -> pd.Series:
    """A lane from 0 for each attempt, so that no two of one node overlap in a lane; the lowest that is free.

    Args:
        rows: from ``attempts``, by their start.
    """
    free: dict[str, list[pd.Timestamp]] = {}
    found = []
    for node, start, end in zip(rows["node"], rows["start"], rows["end"], strict=True):
        ends = free.setdefault(node, [])
        lane = next((number for number, until in enumerate(ends) if until <= start), len(ends))
        ends[lane : lane + 1] = [end]
        found.append(lane)
    return pd.Series(found, rows.index, dtype="int64")
