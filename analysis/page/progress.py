"""Progress of a store's sweeps: stages done, running, waiting and failed."""

from __future__ import annotations

import pandas as pd

from analysis.frames.load import Frames

RUNNING, FAILED, WAITING = "running", "failed", "waiting"


def pending(frames: Frames) -> pd.DataFrame:
    """Return the planned stages without a record, by state and name.

    Returns:
        The columns of ``frames.missing``, and ``state``: "failed" if the last attempt failed, "running" if the last
        event is its start, else "waiting" (for its inputs, or for a free device). ``since``: the start of a running
        stage. A killed driver records no end, so a start long ago may mean a lost attempt.
    """
    last = frames.events.dropna(subset=["key"]).drop_duplicates("key", keep="last").set_index("key")
    started = frames.missing["key"].map(last["time"].to_dict())
    rows = frames.missing.assign(state=WAITING, since=pd.to_datetime(started, utc=True))
    rows.loc[rows["key"].map(last["event"].to_dict()) == "started", "state"] = RUNNING
    rows.loc[rows["failed"], "state"] = FAILED
    rows.loc[rows["state"] != RUNNING, "since"] = pd.NaT
    order = {RUNNING: 0, WAITING: 1, FAILED: 2}
    return rows.sort_values(
        ["state", "name"], key=lambda column: column.map(order) if column.name == "state" else column, ignore_index=True
    )


def progress(frames: Frames) -> dict[str, int]:
    """Count the stages that are planned, done, running, waiting and failed."""
    states = pending(frames)["state"].value_counts()
    counts = {state: int(states.get(state, 0)) for state in (RUNNING, WAITING, FAILED)}
    return {"planned": frames.planned, "done": frames.planned - len(frames.missing), **counts}
