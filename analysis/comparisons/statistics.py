"""Means, standard deviations and paired differences, with what they are over.

Chains are the replicates of a ticket; transfer seeds are nested in a chain. So n is always two numbers, trainings
and chains, and an interval is over chains as soon as there are two: seeds of one chain cannot tell about other
tickets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, nan
from typing import Any, Literal

import pandas as pd
from scipy.special import stdtrit

KEY_DIGITS = 16


def half_interval(values: pd.Series) -> float:
    """Half the width of the 95 % t interval of a mean; NaN for fewer than two values."""
    return float(_half(values.std(), len(values)))


def _half(sd: Any, n: Any) -> Any:
    """The same of sample standard deviations (NaN for one value) and the numbers of values."""
    return stdtrit(n - 1, 0.975) * sd / n**0.5


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
    cells = known.groupby(list(by), dropna=False)
    number = cells.ngroup()  # groups by number: labels may be missing, and missing ones do not join
    by_chain = known.groupby([number, known["chain"]])[value].mean().groupby(level=0).agg(["std", "size"])
    numbered = known.assign(key=known["key"].str[:KEY_DIGITS]).groupby(number)
    table = numbered[[*by]].first().astype({name: known[name].dtype for name in by})
    table["density"] = numbered["density"].mean()
    table["mean"], table["sd"] = numbered[value].mean(), numbered[value].std()
    trainings, chains = numbered.size(), by_chain["size"].reindex(table.index, fill_value=0)
    several = chains > 1
    half = _half(by_chain["std"].reindex(table.index).where(several, table["sd"]), chains.where(several, trainings))
    table["low"], table["high"] = table["mean"] - half, table["mean"] + half
    table["trainings"], table["chains"] = trainings, chains
    table["keys"] = numbered["key"].agg(",".join)
    if error:
        table["standard_error"] = numbered[error].mean()
    return table.reset_index(drop=True)


@dataclass(frozen=True)
class Difference:
    """A mean paired difference with its 95 % t interval (NaN with a single replicate).

    Attributes:
        pairs: how many pairs of trainings.
        chains: over how many chains; with more than one, the interval is over the chains' means.
        standard_error: of the measurements themselves, in the differences' unit; NaN where it is not known.
    """

    mean: float
    low: float
    high: float
    pairs: int
    chains: int
    standard_error: float = nan

    @property
    def shown(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def pairs(
    a: pd.DataFrame,
    b: pd.DataFrame,
    value: str,
    by: Sequence[str],
    partners: Sequence[str] = ("chain", "seed"),
    error: str | None = None,
) -> pd.DataFrame:
    """a - b over the trainings that share ``by`` and what makes them partners.

    Args:
        a: one row per training; each combination of chain, seed and ``by`` at most once.
        b: the same; without "chain" in ``partners``, each combination of ``by`` and those at most once.
        partners: "seed" alone where b has no chain, as dense trainings.
        error: column with the standard error of each value's own measurement.

    Returns:
        Columns ``by``, chain, seed (those of a), ``difference``, and with ``error`` ``standard_error``: the two sides'
        errors as if independent. Two probes that share their images mostly err alike, so it is rather too large.
    """
    own, on = [*by, "chain", "seed"], [*by, *partners]
    values = [value, *([error] if error else [])]
    left, right = (rows[[*keys, *values]].dropna(subset=[*keys, value]) for rows, keys in ((a, own), (b, on)))
    each: Literal["1:1", "m:1"] = "1:1" if "chain" in partners else "m:1"
    both = left.merge(right, on=on, suffixes=("_a", "_b"), validate=each)
    found = both[own].assign(difference=both[f"{value}_a"] - both[f"{value}_b"])
    return found.assign(standard_error=(both[f"{error}_a"] ** 2 + both[f"{error}_b"] ** 2) ** 0.5) if error else found


def difference(pairs: pd.DataFrame, replicates: Sequence[str] = ("chain",)) -> Difference:
    """The mean difference over ``pairs`` (at least one row) and its interval.

    Args:
        replicates: what was drawn anew, so that an interval is over it. Where both chains and seeds were (all chains
            are compared with the same dense trainings, one per seed), the interval takes in both: the squares of its
            half are those of the halves over each added up, which errs on the wide side.
    """
    each = pairs["difference"]
    means = [each.groupby(pairs[name]).mean() for name in replicates]
    halves = [half_interval(values) for values in means if len(values) > 1] or [half_interval(each)]
    chains = each.groupby(pairs["chain"]).mean()
    mean, half = float(chains.mean()), hypot(*halves)
    error = float(pairs["standard_error"].mean()) if "standard_error" in pairs else nan
    return Difference(mean, mean - half, mean + half, len(pairs), len(chains), error)
