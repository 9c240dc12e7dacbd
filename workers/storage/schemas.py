"""Names and columns of a stage's files. Imports no torch, since commands without torch read them."""

from __future__ import annotations

import pyarrow as pa

INIT = "init.safetensors"
WEIGHTS = "weights.safetensors"
TICKET = "ticket.parquet"
METRICS = "metrics.parquet"
TIMING = "timing.parquet"
PROBE = "probe.parquet"
BARRIER = "barrier.parquet"
LANDSCAPE = "landscape.parquet"
SIGNS = "signs.parquet"

METRICS_SCHEMA = pa.schema(
    {
        "epoch": pa.int64(),
        "split": pa.string(),
        "loss_nats": pa.float64(),
        "accuracy_percent": pa.float64(),
        "images": pa.int64(),
        "learning_rate": pa.float64(),
    }
)
TIMING_SCHEMA = pa.schema({"epoch": pa.int64(), "seconds": pa.float64(), "images_per_second": pa.float64()})
_OUTCOME = dict.fromkeys(
    ("error_percent", "error_standard_error_points", "loss_nats", "loss_standard_error_nats"), pa.float64()
)
PROBE_SCHEMA = pa.schema({"lambda": pa.float64(), **_OUTCOME})
BARRIER_SCHEMA = pa.schema(
    {
        "barrier_points": pa.float64(),
        "barrier_standard_error_points": pa.float64(),
        "barrier_lambda": pa.float64(),
        "loss_barrier_nats": pa.float64(),
        "loss_barrier_standard_error_nats": pa.float64(),
        "same_mask": pa.bool_(),
        "barrier_above_chord_points": pa.float64(),
        "loss_barrier_above_chord_nats": pa.float64(),
    }
)
# one row for each point of the grid, and one for each of the three solutions, which ``solution`` names by its input
LANDSCAPE_SCHEMA = pa.schema({"solution": pa.string(), "x": pa.float64(), "y": pa.float64(), **_OUTCOME})
# one row per record of a training and parameter: counts of a prunable weight's survivors, or the drift of psi
SIGNS_SCHEMA = pa.schema(
    {
        "step": pa.int64(),
        "epoch": pa.float64(),
        "parameter": pa.string(),
        "elements": pa.int64(),
        "flips": pa.int64(),
        "flips_from_start": pa.int64(),
        "flips_to_end": pa.int64(),
        "flip_later": pa.int64(),
        "drift_rms": pa.float64(),
        "drift_max": pa.float64(),
    }
)
SIGNS_RESULTS = ("sign_flips_percent", "sign_lock_in_epochs", "psi_drift_rms")
"""A record's results that summarise ``SIGNS``; records of earlier versions have neither."""
SCHEMAS = {
    METRICS: METRICS_SCHEMA,
    TIMING: TIMING_SCHEMA,
    PROBE: PROBE_SCHEMA,
    BARRIER: BARRIER_SCHEMA,
    LANDSCAPE: LANDSCAPE_SCHEMA,
    SIGNS: SIGNS_SCHEMA,
}
"""The tables of results by file name."""
DISTINCT = {
    METRICS: ("epoch", "split"),
    TIMING: ("epoch",),
    PROBE: ("lambda",),
    BARRIER: (),
    LANDSCAPE: ("solution", "x", "y"),
    SIGNS: ("step", "parameter"),
}
"""Columns that tell a table's rows apart: a table in which two rows agree in all of them is damaged."""
OPTIONAL_COLUMNS = frozenset(
    {
        "solution",
        "barrier_above_chord_points",
        "loss_barrier_above_chord_nats",
        "flips",
        "flips_from_start",
        "flips_to_end",
        "flip_later",
        "drift_rms",
        "drift_max",
    }
)
"""Columns that have empty values, or that older versions did not write. A file without another column is damaged."""
