"""Levels of repeated t tests, against simulated studies without any effect."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import stdtr

from analysis.comparisons.boundaries import nominal_levels

STUDIES = 400_000


def crossed(chains: tuple[int, ...], levels: tuple[float, ...]) -> list[float]:
    """The share of simulated studies in which a t test so far was below its level, at each look."""
    values = np.random.default_rng(1).standard_normal((STUDIES, chains[-1]))
    sums, squares = values.cumsum(axis=1), (values**2).cumsum(axis=1)
    below = np.zeros(STUDIES, dtype=bool)
    shares = []
    for n, level in zip(chains, levels, strict=True):
        mean = sums[:, n - 1] / n
        sd = np.sqrt((squares[:, n - 1] - n * mean**2) / (n - 1))
        below |= 2 * stdtr(n - 1, -np.abs(mean) / sd * n**0.5) <= level
        shares.append(float(below.mean()))
    return shares


@pytest.mark.parametrize(
    ("chains", "spent"),
    [
        ((3, 6, 12), (0.01, 0.03, 0.05)),
        (tuple(range(2, 11)), tuple(0.05 * n / 10 for n in range(2, 11))),
        ((3, 4), (0.04, 0.045)),
        ((2, 20), (0.02, 0.05)),
    ],
)
def test_the_looks_spend_what_they_may(chains: tuple[int, ...], spent: tuple[float, ...]) -> None:
    shares = crossed(chains, nominal_levels(chains, spent))
    error = [4 * (share * (1 - share) / STUDIES) ** 0.5 for share in spent]
    assert all(abs(seen - share) < bound for seen, share, bound in zip(shares, spent, error, strict=True))


def test_a_single_look_has_the_whole_level() -> None:
    assert nominal_levels((7,), (0.05,)) == (0.05,)


def test_later_looks_gain_from_what_earlier_looks_saw() -> None:
    first, second = nominal_levels((3, 6), (0.02, 0.05))
    assert first == pytest.approx(0.02)
    assert 0.03 < second < 0.05


def test_a_look_at_more_seeds_of_the_same_chains_has_only_what_it_spends() -> None:
    assert nominal_levels((3, 3), (0.04, 0.045)) == pytest.approx((0.04, 0.005))


def test_a_look_without_a_budget_shows_nothing() -> None:
    assert nominal_levels((3, 6, 9), (0.0, 0.0, 0.05)) == pytest.approx((0.0, 0.0, 0.05), rel=1e-3)
