"""Means, standard deviations and paired differences, with what they are over.

Chains are the replicates of a ticket; transfer seeds are nested in a chain. So n is always two numbers, trainings
and chains, and an interval is over chains as soon as there are two: seeds of one chain cannot tell about other
tickets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt

import pandas as pd

# 0.975 quantiles of Student's t for 1 to 30 degrees of freedom; beyond, the normal's is at most 4 % too small.
# fmt: off
_T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)
# fmt: on
_NORMAL_975 = 1.960


def t_975(degrees_of_freedom: int) -> float:
    """The 0.975 quantile of Student's t."""
    return _T_975[degrees_of_freedom - 1] if degrees_of_freedom <= len(_T_975) else _NORMAL_975


def spread(rows: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Mean and sample standard deviation of a column over the trainings of each group.

    Args:
        rows: one row per training, with ``chain`` and ``density``; a row without the value is left out.

    Returns:
        One row per group: ``by``, ``density`` (mean), ``mean``, ``sd`` (NaN for one training), ``trainings``,
        ``chains`` (0 for dense trainings, which have none).
    """
    known = rows[rows[value].notna()]
    return known.groupby(list(by), dropna=False, as_index=False).agg(
        density=("density", "mean"),
        mean=(value, "mean"),
        sd=(value, "std"),
        trainings=(value, "size"),
        chains=("chain", "nunique"),
    )


@dataclass(frozen=True)
class Difference:
    """A mean paired difference with its 95 % t interval (NaN with a single replicate).

    Attributes:
        pairs: how many pairs of trainings.
        chains: over how many chains; with more than one, the interval is over the chains' means.
    """

    mean: float
    low: float
    high: float
    pairs: int
    chains: int

    @property
    def shown(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def pairs(a: pd.DataFrame, b: pd.DataFrame, value: str, by: Sequence[str]) -> pd.DataFrame:
    """a - b over the trainings that share chain, seed and ``by``: columns ``by``, chain, seed, ``difference``.

    Args:
        a, b: one row per training; each combination of chain, seed and ``by`` at most once.
    """
    on = [*by, "chain", "seed"]
    both = a[[*on, value]].dropna().merge(b[[*on, value]].dropna(), on=on, suffixes=("_a", "_b"), validate="1:1")
    return both[on].assign(difference=both[f"{value}_a"] - both[f"{value}_b"])


def difference(pairs: pd.DataFrame) -> Difference:
    """The mean difference over ``pairs`` (at least one row) and its interval."""
    each = pairs["difference"]
    by_chain = each.groupby(pairs["chain"]).mean()
    replicates = by_chain if len(by_chain) > 1 else each
    mean, n = float(replicates.mean()), len(replicates)
    half = t_975(n - 1) * float(replicates.std()) / sqrt(n) if n > 1 else nan
    return Difference(mean, mean - half, mean + half, pairs=len(pairs), chains=len(by_chain))
