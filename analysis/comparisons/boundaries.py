"""Boundaries of a t test that is repeated as chains arrive: alpha spending (Lan and DeMets 1983), without simulation.

Under no effect, ``R = sum(x) / sqrt(sum(x**2))`` of n normal values is a Markov chain in n, since the direction of the
values is independent of their length: ``R' = (R + y) / sqrt(1 + y**2)``, where ``y * sqrt(n)`` has Student's t
distribution with n degrees of freedom. So the probability to cross a boundary first at a given look is an integral over
one variable, here a sum over cells, however few the chains. Normal theory, which large trials use, would let 5 % become
6 % at three to twelve chains.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Floats = NDArray[np.float64]
CELLS = 300
_TOLERANCE = 1e-6  # of a level, relative


@lru_cache(maxsize=4096)
def nominal_levels(chains: tuple[int, ...], spent: tuple[float, ...]) -> tuple[float, ...]:
    """Return the two-sided level of the t test at each look.

    Args:
        chains: number of chains at each look, not falling, at least 2; a repeated number is a look at more seeds.
        spent: probability of a false "shown" up to and including each look, rising, as alpha spending allots it.

    Returns:
        A level per look. A look that spends nothing has level 0. If the difference has no effect, the probability that
        any t test so far is below its level is ``spent``.
    """
    if len(chains) == 1:  # the distribution of |R| matters for later looks only
        return (spent[0],)
    levels: list[float] = []
    at, state = 1, (np.ones(1), np.ones(1))  # |R| is 1 for one value
    before = 0.0
    for number, until in zip(chains, spent, strict=True):
        budget = until - before
        if number == at:  # other data of the same chains: the joint distribution is unknown, the sum is a bound
            levels.append(budget)
        elif number > at and budget <= 0:
            levels.append(0.0)
            state, at = _after(state, at, number), number
        else:
            state = _after(state, at, number - 1)
            level = budget if len(levels) == 0 else _level(state, number, budget)
            levels.append(level)
            state, at = _step(state, number - 1, _ratio(level, number)), number
        before = until
    return tuple(levels)


def _level(state: tuple[Floats, Floats], number: int, budget: float) -> float:
    """Return the level whose boundary is first crossed at this look with probability ``budget``."""
    points, masses = state
    low, high = budget, 1.0  # the paths that have not crossed hold less than all probability
    while high - low > _TOLERANCE * low:
        middle = (low * high) ** 0.5
        crossing = float(masses @ _beyond(points, number - 1, np.array([_ratio(middle, number)]))[:, 0])
        low, high = (middle, high) if crossing < budget else (low, middle)
    return low


def _after(state: tuple[Floats, Floats], at: int, number: int) -> tuple[Floats, Floats]:
    """Return the distribution of |R| after ``number`` values, without a look on the way."""
    for n in range(at, number):
        state = _step(state, n, np.inf)
    return state


def _step(state: tuple[Floats, Floats], n: int, boundary: float) -> tuple[Floats, Floats]:
    """Return the distribution of |R| after n + 1 values, of the paths that stay within the boundary."""
    points, masses = state
    edges, middles = _cells(n + 1)
    beyond = masses @ (_beyond_cells(n) if n > 1 else _beyond(points, n, edges))
    if np.isfinite(boundary):
        at_boundary = float(masses @ _beyond(points, n, np.array([boundary]))[:, 0])
        beyond = np.where(edges < boundary, beyond, at_boundary)
    return middles, -np.diff(beyond)


@lru_cache(maxsize=64)
def _beyond_cells(n: int) -> Floats:
    """Return the probability that |R| exceeds each cell's edge after n + 1 values, from each cell after n values."""
    return _beyond(_cells(n)[1], n, _cells(n + 1)[0])


@lru_cache(maxsize=256)
def _cells(n: int) -> tuple[Floats, Floats]:
    """Return the edges and the middles of the cells of |R|, which is at most the root of n."""
    angles = np.linspace(0, np.pi / 2, CELLS + 1)
    return np.sqrt(n) * np.sin(angles), np.sqrt(n) * np.sin((angles[1:] + angles[:-1]) / 2)


def _beyond(points: Floats, n: int, radii: Floats) -> Floats:
    """Return the probability that |R| exceeds each radius after n + 1 values, from each point after n values.

    With y = tan(psi) and R = tan(delta), R' is ``sqrt(1 + R**2) * sin(psi + delta)``.
    """
    delta = np.arctan(points)[:, None]
    share = radii[None, :] / np.sqrt(1 + points[:, None] ** 2)
    a = np.arcsin(np.minimum(share, 1))
    above = _within(a - delta, np.pi - a - delta, n)
    below = _within(a - np.pi - delta, -a - delta, n)
    return np.where(share < 1, above + below, 0.0)


def _within(low: Floats, high: Floats, n: int) -> Floats:
    """Return the probability that psi lies in an interval, cut to (-pi/2, pi/2)."""
    ends = [np.clip(end, -np.pi / 2, np.pi / 2) for end in (low, np.maximum(low, high))]
    cumulative = [stdtr(n, np.sqrt(n) * np.tan(end)) for end in ends]
    return np.asarray(cumulative[1] - cumulative[0])


def _ratio(level: float, n: int) -> float:
    """Return the boundary of |R| after n values, for the two-sided level of a t test."""
    t = -float(stdtrit(n - 1, level / 2))
    return float(np.sqrt(n * t**2 / (n - 1 + t**2)))
