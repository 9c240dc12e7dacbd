"""Define overlap of masks and agreement of signs of two tickets, and both by chance.

A surviving weight of exactly 0 counts in masks. It has no sign, so it neither agrees nor flips.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

OVERLAP = ("common", "union", "overlap_percent", "chance_overlap_percent")
AGREEMENT = ("signed", "equal", "agreement_percent", "chance_agreement_percent")


def shared(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Measure overlap and agreement over the tensors of each group.

    Counts are summed over tensors before any division, so that every weight counts alike. Chance is computed in each
    tensor from the tensor's densities and shares of positive signs, then summed: two tickets whose layers merely have
    similar densities do not agree.

    Args:
        rows: one per pair and tensor, with ``analysis.signs.bits.COUNTS``.
        by: columns that define the groups; groups keep the order of their first rows.

    Returns:
        One row per group: ``by``; ``weights``, ``alive``, ``other_alive``, ``density`` and ``other_density``;
        ``common`` and ``union`` (weights alive in both and in either), ``overlap_percent`` (common / union) and
        ``chance_overlap_percent`` (of independent masks); ``signed`` (common weights with a sign in both), ``equal``
        (of these, with the same), ``agreement_percent`` (equal / signed), ``chance_agreement_percent`` (of independent
        signs) and ``flipped`` (of the signed, with opposite ones). A percentage of nothing is NaN.
    """
    positive = rows["both_positive"] + rows["positive_negative"]
    other_positive = rows["both_positive"] + rows["negative_positive"]
    both = signed(rows)
    by_chance = 1.0 * positive * other_positive + 1.0 * (both - positive) * (both - other_positive)
    rows = rows.assign(
        signed=both,
        equal=rows["both_positive"] + rows["both_negative"],
        flipped=flipped(rows),
        chance_equal=(by_chance / both).fillna(0.0),
        chance_common=(1.0 * rows["alive"] * rows["other_alive"] / rows["weights"]).fillna(0.0),
    )
    counted = ["weights", "alive", "other_alive", "common", "signed", "equal", "flipped"]
    table = rows.groupby(list(by), sort=False)[[*counted, "chance_equal", "chance_common"]].sum().reset_index()
    either = table["alive"] + table["other_alive"]
    return table.assign(
        density=table["alive"] / table["weights"],
        other_density=table["other_alive"] / table["weights"],
        union=either - table["common"],
        overlap_percent=100 * table["common"] / (either - table["common"]),
        chance_overlap_percent=100 * table["chance_common"] / (either - table["chance_common"]),
        agreement_percent=100 * table["equal"] / table["signed"],
        chance_agreement_percent=100 * table["chance_equal"] / table["signed"],
    ).drop(columns=["chance_equal", "chance_common"])


def signed(rows: pd.DataFrame) -> pd.Series:
    """Count the weights with a sign in both tickets."""
    quadrants = ["both_positive", "positive_negative", "negative_positive", "both_negative"]
    return rows[quadrants].sum(axis=1)


def flipped(rows: pd.DataFrame) -> pd.Series:
    """Count the weights with opposite signs."""
    return rows["positive_negative"] + rows["negative_positive"]
