"""How many chains would show a difference."""

from __future__ import annotations

from math import isfinite

from scipy.special import nctdtr, stdtrit

POWER = 0.8
MOST_CHAINS = 1000


def chains_needed(difference: float, sd: float, level: float, power: float = POWER) -> int | None:
    """Return the number of chains with which a t test shows a difference.

    Args:
        difference: its true mean.
        sd: standard deviation of a chain's mean difference.
        level: of the test, two-sided.
        power: probability to show it.

    Returns:
        The fewest chains, at least 2; None if more than ``MOST_CHAINS`` are needed, or if nothing is known.
    """
    if not (isfinite(difference) and isfinite(sd)) or difference == 0 or level <= 0:
        return None
    low, high = 1, 2
    while high <= MOST_CHAINS and _power(high, difference, sd, level) < power:
        low, high = high, 2 * high
    high = min(high, MOST_CHAINS + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(middle, difference, sd, level) >= power else (middle, high)
    return high if high <= MOST_CHAINS else None


def _power(n: int, difference: float, sd: float, level: float) -> float:
    if sd == 0:
        return 1.0
    critical = -float(stdtrit(n - 1, level / 2))
    return 1 - float(nctdtr(n - 1, abs(difference) / sd * n**0.5, critical))
