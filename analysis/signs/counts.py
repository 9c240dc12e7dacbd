"""Counts of signs per tensor: what a ticket has in common with itself."""

from __future__ import annotations

import pandas as pd

COUNT_COLUMNS = ("tensor", "role", "weights", "surviving", "positive", "negative", "density")


def ticket_counts(compared: pd.DataFrame) -> pd.DataFrame:
    """One row per ticket and tensor.

    Args:
        compared: from ``comparisons``; only its pairs of a ticket with itself count.

    Returns:
        Columns ``key``, ``tensor``, ``role``, ``weights``, ``surviving`` (positive, negative and surviving zeros),
        ``positive``, ``negative`` and ``density`` (surviving / weights; NaN in an empty tensor).
    """
    own = compared[compared["key"] == compared["other_key"]]
    named = {"alive": "surviving", "both_positive": "positive", "both_negative": "negative"}
    counts = own.rename(columns=named)
    return counts.assign(density=counts["surviving"] / counts["weights"])[["key", *COUNT_COLUMNS]]
