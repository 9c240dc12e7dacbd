"""Summaries and intervals against numbers worked out by hand."""

from __future__ import annotations

from math import isnan, sqrt

import pandas as pd
import pytest

from analysis.statistics import difference, pairs, spread, t_975


def trainings(values: list[tuple[int, int, float]]) -> pd.DataFrame:
    """Rows of (chain, seed, value), all of round 1."""
    return pd.DataFrame(values, columns=["chain", "seed", "x"]).assign(density=0.8, round=1)


def test_spread_counts_trainings_and_chains() -> None:
    rows = trainings([(1, 1, 1.0), (1, 2, 3.0), (2, 1, 5.0), (2, 2, float("nan"))])
    [row] = spread(rows, ["round"], "x").to_dict("records")
    assert (row["mean"], row["sd"], row["trainings"], row["chains"]) == (3.0, 2.0, 3, 2)


def test_one_training_has_no_deviation() -> None:
    [row] = spread(trainings([(1, 1, 4.0)]), ["round"], "x").to_dict("records")
    assert isnan(row["sd"])


def test_with_one_chain_the_interval_is_over_its_seeds() -> None:
    a, b = trainings([(1, 1, 5.0), (1, 2, 7.0), (1, 3, 9.0)]), trainings([(1, 1, 1.0), (1, 2, 2.0), (1, 3, 3.0)])
    found = difference(pairs(a, b, "x", ["round"]))
    half = 4.303 * 1.0 / sqrt(3)  # differences 4, 5, 6
    assert (found.mean, found.low, found.high) == pytest.approx((5.0, 5 - half, 5 + half))
    assert (found.pairs, found.chains, found.shown) == (3, 1, True)


def test_with_several_chains_the_interval_is_over_the_chains() -> None:
    a = trainings([(1, 1, 1.0), (1, 2, 3.0), (2, 1, 4.0), (2, 2, 4.0)])
    b = trainings([(1, 1, 0.0), (1, 2, 0.0), (2, 1, 0.0), (2, 2, 0.0)])
    found = difference(pairs(a, b, "x", ["round"]))
    half = 12.706 * sqrt(2) / sqrt(2)  # chain means 2 and 4: sd is sqrt(2)
    assert (found.mean, found.low, found.high) == pytest.approx((3.0, 3 - half, 3 + half))
    assert (found.pairs, found.chains, found.shown) == (4, 2, False)


def test_only_the_same_chain_and_seed_are_paired() -> None:
    found = pairs(trainings([(1, 1, 5.0), (1, 2, 9.0)]), trainings([(1, 1, 3.0), (2, 2, 0.0)]), "x", ["round"])
    assert found["difference"].tolist() == [2.0]
    single = difference(found)
    assert isnan(single.low)
    assert not single.shown


def test_t_quantiles() -> None:
    assert [t_975(df) for df in (1, 2, 10, 30, 31)] == [12.706, 4.303, 2.228, 2.042, 1.960]
