"""Columns of the frames about stages, and their types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import pandas as pd

from orchestrator.store.record import Labels
from workers.storage.schemas import SIGNS_RESULTS

LABELS = tuple(field.name for field in fields(Labels))
PROVENANCE = ("git_commit", "git_dirty_blake2b", "device", "processor", "host", "python")
_TYPES = {
    **dict.fromkeys(("key", "kind", "name", "dataset", "architecture", "preset"), "str"),
    **dict.fromkeys(("method", "transfer", "probe", "pair_probe", "parameter", "ticket_dataset"), "str"),
    **dict.fromkeys(("store", "folder", "out", "files", "inputs", *PROVENANCE), "str"),
    **dict.fromkeys(("event", "error", "cause", "machine", "by", "found_by"), "str"),
    **dict.fromkeys(("chain", "round", "seed", "attempt", "ranks", "stages_beside"), "Int64"),
    **dict.fromkeys(("twin", "superseded", "failed"), "bool"),
    **dict.fromkeys(("same_mask", "retry"), "boolean"),
    **dict.fromkeys(("finished", "time"), "datetime64[us, UTC]"),
}
_BARRIER = (
    "barrier_points",
    "barrier_above_chord_points",
    "barrier_standard_error_points",
    "loss_barrier_nats",
    "loss_barrier_above_chord_nats",
    "same_mask",
)
ABOVE_CHORD = {"barrier_above_chord_points": "error_percent", "loss_barrier_above_chord_nats": "loss_nats"}
_RESULTS = (
    "density",
    "validation_accuracy_percent",
    "test_accuracy_percent",
    "test_loss_nats",
    *_BARRIER,
    *SIGNS_RESULTS,
)
_NUMBERS = {name: "float64" for name in ("seconds", "flip_fraction", *_RESULTS) if name not in _TYPES}
IDENTITY = ("key", "kind", "name", *LABELS)
_DERIVED = ("flip_fraction", "pair_probe", "ticket_dataset", "inputs", "seconds", "ranks", "stages_beside", "finished")
STAGE_COLUMNS = (*IDENTITY, *_RESULTS, *_DERIVED, *PROVENANCE, "superseded", "store", "folder", "out", "files")
_DETAILS = ("seconds", "error", "cause", "retry", "machine", "by", "found_by")
EVENT_COLUMNS = ("time", "event", "key", "name", "attempt", *_DETAILS)


def typed(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> pd.DataFrame:
    """Return rows as a frame with these columns, each of its type."""
    frame = pd.DataFrame(list(rows)).reindex(columns=list(columns))
    for name in frame.columns.intersection(["finished", "time"]):
        frame[name] = time(frame[name])
    return frame.astype({name: kind for name, kind in {**_TYPES, **_NUMBERS}.items() if name in frame})


def time(unix_s: pd.Series) -> pd.Series:
    """Return times in seconds since 1970 as dates."""
    return pd.to_datetime(unix_s.astype("float64"), unit="s", utc=True).dt.as_unit("us")
