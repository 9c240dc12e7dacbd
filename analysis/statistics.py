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
from scipy.special import stdtrit

KEY_DIGITS = 16


def half_interval(values: pd.Series) -> float:
    """Half the width of the 95 % t interval of a mean; NaN for fewer than two values."""
    n = len(values)
    return float(stdtrit(n - 1, 0.975) * values.std() / sqrt(n)) if n > 1 else nan


def spread(rows: pd.DataFrame, by: Sequence[str], value: str, error: str | None = None) -> pd.DataFrame:
    """Mean, sample standard deviation and 95 % interval of a column over the trainings of each group.

    Args:
        rows: one row per training, with ``key``, ``chain`` and ``density``; a row without the value is left out.
        error: column with the standard error of each value's own measurement.

    Returns:
        One row per group: ``by``, ``density`` (mean), ``mean``, ``sd`` (NaN for one training), ``low`` and ``high``
        (the mean's 95 % t interval: over the chains' means if there are several, else over trainings; NaN for one),
        ``trainings``, ``chains`` (0 for dense trainings, which have none), ``keys`` (the stages' first digits, with
        commas between), and with ``error`` ``standard_error``: the mean of the values' errors. Probes share their
        images, so that averaging over them cannot be counted on to lower it.
    """
    known = rows[rows[value].notna()]
    columns = [*by, "density", "mean", "sd", "low", "high", "trainings", "chains", "keys"]
    found = []
    for group, cell in known.groupby(list(by), dropna=False):
        by_chain = cell.groupby("chain")[value].mean()
        half = half_interval(by_chain if len(by_chain) > 1 else cell[value])
        mean = cell[value].mean()
        found.append(
            {
                **dict(zip(by, group, strict=True)),
                "density": cell["density"].mean(),
                "mean": mean,
                "sd": cell[value].std(),
                "low": mean - half,
                "high": mean + half,
                "trainings": len(cell),
                "chains": len(by_chain),
                "keys": ",".join(key[:KEY_DIGITS] for key in cell["key"]),
                **({"standard_error": cell[error].mean()} if error else {}),
            }
        )
    table = pd.DataFrame(found, columns=[*columns, *(["standard_error"] if error else [])])
    return table.astype({name: kind for name, kind in known.dtypes.items() if name in by})


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
    mean = float(replicates.mean())
    half = half_interval(replicates)
    return Difference(mean, mean - half, mean + half, pairs=len(pairs), chains=len(by_chain))
