"""Summaries and intervals against numbers worked out by hand."""

from __future__ import annotations

from math import inf, isnan, sqrt

import pandas as pd
import pytest

from analysis.comparisons.statistics import difference, half_interval, pairs, spread


def trainings(values: list[tuple[int, int, float]]) -> pd.DataFrame:
    """Rows of (chain, seed, value), all of round 1."""
    rows = pd.DataFrame(values, columns=["chain", "seed", "x"]).assign(density=0.8, round=1)
    return rows.assign(key=[f"{chain}-{seed}" for chain, seed, _ in values])


def test_chains_are_the_replicates_of_a_mean() -> None:
    rows = trainings([(1, 1, 1.0), (1, 2, 3.0), (2, 1, 5.0), (2, 2, float("nan"))])
    [row] = spread(rows, ["round"], "x").to_dict("records")
    assert (row["mean"], row["sd"], row["trainings"], row["chains"]) == (3.5, pytest.approx(1.5 * sqrt(2)), 3, 2)


def test_one_training_has_no_deviation() -> None:
    [row] = spread(trainings([(1, 1, 4.0)]), ["round"], "x").to_dict("records")
    assert isnan(row["sd"])


def test_with_one_chain_the_interval_is_over_its_seeds() -> None:
    a, b = trainings([(1, 1, 5.0), (1, 2, 7.0), (1, 3, 9.0)]), trainings([(1, 1, 1.0), (1, 2, 2.0), (1, 3, 3.0)])
    row = difference(pairs(a, b, "x", ["round"]))
    half = 4.303 * 1.0 / sqrt(3)  # differences 4, 5, 6
    assert (row.mean, *row.interval()) == pytest.approx((5.0, 5 - half, 5 + half), rel=1e-3)
    assert (row.pairs, row.chains) == (3, 1)


def test_with_several_chains_the_interval_is_over_the_chains() -> None:
    a = trainings([(1, 1, 1.0), (1, 2, 3.0), (2, 1, 4.0), (2, 2, 4.0)])
    b = trainings([(1, 1, 0.0), (1, 2, 0.0), (2, 1, 0.0), (2, 2, 0.0)])
    row = difference(pairs(a, b, "x", ["round"]))
    half = 12.706 * sqrt(2) / sqrt(2)  # chain means 2 and 4: sd is sqrt(2)
    assert (row.mean, *row.interval()) == pytest.approx((3.0, 3 - half, 3 + half), rel=1e-3)
    assert (row.pairs, row.chains) == (4, 2)


def test_only_the_same_chain_and_seed_are_paired() -> None:
    paired = pairs(trainings([(1, 1, 5.0), (1, 2, 9.0)]), trainings([(1, 1, 3.0), (2, 2, 0.0)]), "x", ["round"])
    assert paired["difference"].tolist() == [2.0]
    single = difference(paired)
    assert all(map(isnan, single.interval()))


@pytest.mark.parametrize(("n", "quantile"), [(2, 12.706), (3, 4.303), (11, 2.228), (31, 2.042)])
def test_half_an_interval_is_students(n: int, quantile: float) -> None:
    values = pd.Series([0.0, 1.0] * n).head(n)
    assert half_interval(values) == pytest.approx(quantile * values.std() / sqrt(n), rel=1e-3)


def test_a_mean_has_its_interval_and_its_stages() -> None:
    [row] = spread(trainings([(1, 1, 1.0), (1, 2, 3.0), (2, 1, 5.0)]), ["round"], "x").to_dict("records")
    half = 12.706 * sqrt(4.5) / sqrt(2)  # over the chains' means, 2 and 5
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((3.5, 3.5 - half, 3.5 + half), rel=1e-3)
    assert row["keys"] == "1-1,1-2,2-1"


def test_an_interval_is_cut_to_the_values_that_are_possible() -> None:
    rows = trainings([(1, 1, 1.0), (2, 1, 2.0), (3, 1, 9.0)])
    [row] = spread(rows, ["round"], "x", within=(0.0, 10.0)).to_dict("records")
    assert (row["mean"], row["low"], row["high"]) == (4.0, 0.0, 10.0)


def test_an_interval_widens_with_its_level_down_to_zero() -> None:
    a, b = trainings([(1, 1, 5.0), (2, 1, 7.0)]), trainings([(1, 1, 1.0), (2, 1, 2.0)])
    row = difference(pairs(a, b, "x", ["round"]))
    assert row.interval(0.01) == pytest.approx((4.5 - 63.657 / 2, 4.5 + 63.657 / 2), rel=1e-3)
    assert row.interval(0.0) == (-inf, inf)


def test_errors_of_measurements_are_carried_through() -> None:
    rows = trainings([(1, 1, 1.0), (1, 2, 3.0)]).assign(error=[0.2, 0.4])
    [row] = spread(rows, ["round"], "x", error="error").to_dict("records")
    assert row["standard_error"] == pytest.approx(0.3)


def test_errors_of_two_measurements_add_up_in_squares() -> None:
    a, b = trainings([(1, 1, 5.0), (1, 2, 7.0)]), trainings([(1, 1, 1.0), (1, 2, 2.0)])
    paired = pairs(a.assign(error=[0.3, 0.6]), b.assign(error=[0.4, 0.8]), "x", ["round"], error="error")
    assert paired["standard_error"].tolist() == pytest.approx([0.5, 1.0])
    assert difference(paired).standard_error == pytest.approx(0.75)


def test_a_partner_without_a_chain_is_met_by_every_chain() -> None:
    a = trainings([(1, 1, 10.0), (1, 2, 8.0), (2, 1, 12.0), (2, 2, 10.0)])
    b = trainings([(1, 1, 0.0), (1, 2, 0.0)]).drop(columns="chain")
    row = difference(pairs(a, b, "x", ["round"], partners=["seed"]), replicates=["chain", "seed"])
    half = sqrt(12.706**2 + 12.706**2)  # chains' means 9 and 11, seeds' means 11 and 9
    assert (row.mean, row.interval()[1], row.pairs) == pytest.approx((10.0, 10 + half, 4), rel=1e-3)
