"""Means, standard deviations and paired differences, with their replicates.

Chains are the replicates of a ticket; transfer seeds are nested in a chain. So n is always two numbers, trainings and
chains. With two chains or more, an interval is over chains: seeds of one chain say nothing about other tickets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import hypot, inf, nan
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from analysis.comparisons.labels import source_of

KEY_DIGITS = 16
LEVEL = 0.05
"""Two-sided: of an interval that is looked at once, alone."""


def short_keys(keys: Iterable[str]) -> str:
    """Join the first digits of stages' keys with commas, as a point's ``customdata`` and the tables hold them."""
    return ",".join(key[:KEY_DIGITS] for key in keys)


def sources(rows: pd.DataFrame) -> pd.Series:
    """Return where the tickets of each row's ``method`` are from; empty for the sweep's own, or no method.

    Tickets from elsewhere count their rounds by themselves: round 5 of one source is no round 5 of another.
    """
    return rows["method"].map(source_of).astype("str")


def at_last_round(rows: pd.DataFrame) -> pd.Series:
    """Mark the rows of the last ``round`` of each source of tickets: those at its sparsest density."""
    rounds = rows["round"].astype("Float64")
    return (rounds == rounds.groupby(sources(rows)).transform("max")).fillna(False).astype(bool)


def by_density(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the rows of each source and round, sparsest first."""
    groups = [group for _, group in rows.groupby([sources(rows).rename("source"), rows["round"]])]
    yield from sorted(groups, key=lambda group: float(group["density"].mean()))


def half_interval(values: pd.Series, level: float = LEVEL) -> float:
    """Return half the width of the t interval of a mean, at a two-sided level; NaN for fewer than two values."""
    return float(_half(values.std() / len(values) ** 0.5, len(values) - 1, level))


def _half(error: Any, freedom: Any, level: float = LEVEL) -> Any:
    """Return half the width, from standard errors of means (NaN for one value) and degrees of freedom."""
    return -stdtrit(freedom, level / 2) * error


def spread(
    rows: pd.DataFrame,
    by: Sequence[str],
    value: str,
    error: str | None = None,
    within: tuple[float, float] = (-inf, inf),
) -> pd.DataFrame:
    """Return mean, sample standard deviation and 95 % interval of a column for each group.

    Chains are the replicates: with several chains, all three are of the chains' means. With one chain, or none, they
    are of the trainings.

    Args:
        rows: one row per training, with ``key``, ``chain`` and ``density``; rows without the value are left out.
        error: column with the standard error of each value's measurement.
        within: the values that are possible, to which intervals are cut.

    Returns:
        One row per group: ``by``, ``density`` (mean), ``mean``, ``sd`` (NaN for one value), ``low`` and ``high`` (the
        mean's 95 % t interval; NaN for one value), ``trainings``, ``chains`` (0 for dense trainings), ``keys`` (the
        stages' first digits, comma-separated), and with ``error`` ``standard_error``: the mean of the values' errors.
        It is not divided by the root of n: probes share their images, so their errors are not independent.
    """
    measured = rows[rows[value].notna()]
    cells = measured.groupby(list(by), dropna=False)
    number = cells.ngroup()  # group by number: labels may be missing, and missing labels do not join
    of_chains = (
        measured.groupby([number, measured["chain"]])[value].mean().groupby(level=0).agg(["mean", "std", "size"])
    )
    numbered = measured.groupby(number)
    table = numbered[[*by]].first().astype({name: measured[name].dtype for name in by})
    table["density"] = numbered["density"].mean()
    of_trainings = numbered[value].agg(["mean", "std", "size"])
    chains = of_chains["size"].reindex(table.index, fill_value=0)
    replicates = of_chains.reindex(table.index).where(chains > 1, of_trainings)
    table["mean"], table["sd"] = replicates["mean"], replicates["std"]
    half = _half(table["sd"] / replicates["size"] ** 0.5, replicates["size"] - 1)
    table["low"], table["high"] = (table["mean"] - half).clip(*within), (table["mean"] + half).clip(*within)
    table["trainings"], table["chains"] = of_trainings["size"], chains
    table["keys"] = numbered["key"].agg(short_keys)
    if error:
        table["standard_error"] = numbered[error].mean()
    return table.reset_index(drop=True)


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error; both ``error`` and ``freedom`` are NaN with a single replicate."""

    mean: float
    error: float = nan
    freedom: float = nan

    @classmethod
    def of(cls, mean: float, sd: float, n: int) -> Estimate:
        """Estimate a mean from n replicates with a sample standard deviation."""
        return cls(mean, sd / n**0.5, n - 1) if n > 1 else cls(mean)

    def __sub__(self, other: Estimate) -> Estimate:
        """Return the unpaired difference, with Welch's degrees of freedom (Welch 1947)."""
        error = hypot(self.error, other.error)
        parts = [(each.error / error) ** 4 / each.freedom for each in (self, other)] if error > 0 else []
        return Estimate(self.mean - other.mean, error, 1 / sum(parts) if parts else min(self.freedom, other.freedom))

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the t interval at a two-sided level; NaN with a single replicate."""
        half = float(_half(self.error, self.freedom, level))
        return self.mean - half, self.mean + half


@dataclass(frozen=True)
class Difference:
    """A mean paired difference.

    Attributes:
        errors: standard error of the mean and degrees of freedom, for each label that the interval is over; empty with
            a single replicate, or with a single dense training on the other side.
        pairs: number of pairs of trainings.
        chains: number of chains; with several, the mean is of the chains' means.
        standard_error: of the measurements, in the differences' unit; NaN if unknown.
    """

    mean: float
    errors: tuple[tuple[float, int], ...]
    pairs: int
    chains: int
    standard_error: float = nan

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the t interval at a two-sided level; NaN with a single replicate, infinite at level 0."""
        half = hypot(*(_half(error, freedom, level) for error, freedom in self.errors)) if self.errors else nan
        return self.mean - half, self.mean + half


def pairs(
    a: pd.DataFrame,
    b: pd.DataFrame,
    value: str,
    by: Sequence[str],
    partners: Sequence[str] = ("chain", "seed"),
    error: str | None = None,
) -> pd.DataFrame:
    """Pair the trainings that share ``by`` and ``partners``, and return a - b.

    Args:
        a: one row per training; each combination of chain, seed and ``by`` at most once.
        b: the same; without "chain" in ``partners``, each combination of ``by`` and ``partners`` at most once.
        partners: "seed" alone if b has no chain, as dense trainings.
        error: column with the standard error of each value's measurement.

    Returns:
        Columns ``by``, chain, seed (those of a), ``difference``, and with ``error`` ``standard_error``: the two sides'
        errors as if independent. Two probes that share images err alike, so this error is rather too large.
    """
    by_training, on = [*by, "chain", "seed"], [*by, *partners]
    values = [value, *([error] if error else [])]
    left, right = (rows[[*keys, *values]].dropna(subset=[*keys, value]) for rows, keys in ((a, by_training), (b, on)))
    each: Literal["1:1", "m:1"] = "1:1" if "chain" in partners else "m:1"
    both = left.merge(right, on=on, suffixes=("_a", "_b"), validate=each)
    table = both[by_training].assign(difference=both[f"{value}_a"] - both[f"{value}_b"])
    return table.assign(standard_error=(both[f"{error}_a"] ** 2 + both[f"{error}_b"] ** 2) ** 0.5) if error else table


def difference(pairs: pd.DataFrame, replicates: Sequence[str] = ("chain",)) -> Difference:
    """Return the mean difference over ``pairs`` (at least one row) and its interval.

    Args:
        replicates: labels that the interval is over. With both chain and seed (all chains are compared with the same
            dense trainings, one per seed), the half widths over each are added in squares, which errs on the wide side.
            One seed gives no interval: the spread of a single dense training is unknown.
    """
    each = pairs["difference"].to_numpy(dtype=float)
    chains = _means(each, pairs["chain"])
    means = [chains if name == "chain" else _means(each, pairs[name]) for name in replicates]
    several = [values for values in means if len(values) > 1] or [each] * (len(each) > 1)
    if "seed" in replicates and pairs["seed"].nunique() == 1:
        several = []
    errors = tuple((float(values.std(ddof=1)) / len(values) ** 0.5, len(values) - 1) for values in several)
    error = float(pairs["standard_error"].mean()) if "standard_error" in pairs else nan
    return Difference(float(chains.mean()), errors, len(pairs), len(chains), error)


def _means(values: NDArray[np.float64], labels: pd.Series) -> NDArray[np.float64]:
    """Return the mean of the values of each label."""
    _, groups = np.unique(labels.to_numpy(dtype=int), return_inverse=True)
    return np.bincount(groups, values) / np.bincount(groups)
