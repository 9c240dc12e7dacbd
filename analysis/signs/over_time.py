"""Signs over time: choose few trainings to read, and measure them layer by layer."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.signs.pairs import SETTING
from workers.storage.schemas import SIGNS

LOCKED_PERCENT = 1.0
MOST_ROUNDS = 16  # of a chain; its other rounds lie between these
LAYER_COLUMNS = ("parameter", "elements", "flips_percent", "lock_in_epochs", "drift_rms", "drift_max")
RECORD_COLUMNS = ("step", "epochs", "parameter", "elements", "flips_percent_per_epoch", "agreement_percent")
_CHAIN = [*SETTING, "method"]


def recorded_trainings(stages: pd.DataFrame) -> pd.DataFrame:
    """Choose the trainings whose files are read: the rounds of each method's first chain, thinned evenly.

    Args:
        stages: one row per stage, with its ``files``.

    Returns:
        Rows of ``stages``, by round, with ``shown``: whether a training's course is drawn, as the first, the second and
        the last of its chain's are. A store of any size has few; stages of earlier versions have no file.
    """
    rows = stages[stages["kind"].isin(["pretrain", "round"]) & ~stages["superseded"]]
    rows = rows[rows["files"].str.split(",").map(lambda names: SIGNS in names).astype(bool)]
    rows = rows.dropna(subset=["method", "chain", "round"])
    rows = rows[rows["chain"] == rows.groupby(_CHAIN)["chain"].transform("min")].sort_values("round")
    place = rows.groupby(_CHAIN).cumcount()
    last = rows.groupby(_CHAIN)["round"].transform("size") - 1
    step = np.maximum(last / (MOST_ROUNDS - 1), 1)
    # the first place at or after each multiple of the step; the last is one of them
    kept = (place == 0) | (np.floor(place / step + 1e-9) > np.floor((place - 1) / step + 1e-9)) | (place == last)
    return rows.assign(shown=place.isin([0, 1]) | (place == last))[kept | (place == 1)]


def signs_by_layer(recorded: pd.DataFrame) -> pd.DataFrame:
    """Return one row per training and parameter, at its end.

    Args:
        recorded: rows of ``signs.parquet`` with each training's ``key``.

    Returns:
        ``key`` and ``LAYER_COLUMNS``: ``elements`` (surviving weights, or values of psi), ``flips_percent`` (survivors
        whose sign differs from the start), ``lock_in_epochs`` (until the first record after which at most
        ``LOCKED_PERCENT`` of them flip), ``drift_rms`` and ``drift_max`` (of psi). Columns that a parameter has not are
        missing, and so is the share of no survivors.
    """
    rows = _from_start(recorded)
    ends = rows[rows["step"] == rows.groupby("key")["step"].transform("max")]
    ends = ends.assign(flips_percent=_percent(ends["flips_from_start"], ends["elements"]))
    locked = rows[_percent(rows["flip_later"], rows["elements"]) <= LOCKED_PERCENT]
    first = locked.groupby(["key", "parameter"], sort=False)["epochs"].min().rename("lock_in_epochs")
    return ends.merge(first.reset_index(), on=["key", "parameter"], how="left")[["key", *LAYER_COLUMNS]]


def signs_over_time(recorded: pd.DataFrame) -> pd.DataFrame:
    """Return one row per training, record and prunable weight.

    Args:
        recorded: as for ``signs_by_layer``.

    Returns:
        ``key`` and ``RECORD_COLUMNS``: ``step`` and ``epochs`` since the training's start, ``elements`` (surviving
        weights), ``flips_percent_per_epoch`` (survivors whose sign differs from the record before, over the epochs in
        between; missing at the start) and ``agreement_percent`` (survivors with the sign of the training's end, which
        is the ticket's).
    """
    rows = _from_start(recorded)
    rows = rows[rows["flips"].notna()]
    since = rows.groupby(["key", "parameter"], sort=False)["epochs"].diff()
    percent = _percent(rows["flips"], rows["elements"]) / since
    agreement = 100 - _percent(rows["flips_to_end"], rows["elements"])
    return rows.assign(flips_percent_per_epoch=percent, agreement_percent=agreement)[["key", *RECORD_COLUMNS]]


def _from_start(recorded: pd.DataFrame) -> pd.DataFrame:
    rows = recorded.sort_values(["key", "step"], kind="stable")
    return rows.assign(epochs=rows["epoch"] - rows.groupby("key")["epoch"].transform("min"))


def _percent(part: pd.Series, whole: pd.Series) -> pd.Series:
    return 100 * part.astype("float64") / whole.where(whole > 0).astype("float64")
