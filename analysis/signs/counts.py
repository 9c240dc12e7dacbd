"""Counts of weights, survivors and signs per tensor."""

from __future__ import annotations

import pandas as pd

COUNT_COLUMNS = ("tensor", "role", "weights", "surviving", "positive", "negative", "density")


def ticket_counts(compared: pd.DataFrame) -> pd.DataFrame:
    """Return one row per ticket and tensor.

    Args:
        compared: from ``comparisons``; only pairs of a ticket with itself count.

    Returns:
        Columns ``key``, ``tensor``, ``role``, ``weights``, ``surviving`` (positive, negative and surviving zeros),
        ``positive``, ``negative`` and ``density`` (surviving / weights; NaN in an empty tensor).
    """
    itself = compared[compared["key"] == compared["other_key"]]
    names = {"alive": "surviving", "both_positive": "positive", "both_negative": "negative"}
    counts = itself.rename(columns=names)
    return counts.assign(density=counts["surviving"] / counts["weights"])[["key", *COUNT_COLUMNS]]
