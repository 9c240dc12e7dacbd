"""Slow is not hung: an attempt is judged by its own pace, on one clock."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.driver.heartbeat import Pulse, limit_s


def beat(number: int, longest_step_s: float | None = None) -> dict[str, Any]:
    return {"beats": number, "longest_step_s": longest_step_s}


@pytest.mark.parametrize(
    ("longest_step_s", "least_s", "limit"),
    [
        (None, 300, 1800),
        (None, 3600, 21_600),
        (None, 5, 30),
        (0.01, 300, 300),
        (60.0, 300, 1200),
        (60.0, 5, 1200),
        (0.01, 5, 5),
    ],
)
def test_the_limit_follows_the_slowest_step(longest_step_s: float | None, least_s: float, limit: float) -> None:
    assert limit_s(longest_step_s, least_s) == limit


def test_an_attempt_that_beats_never_hangs() -> None:
    pulse = Pulse(since_s=0.0)
    for second in range(0, 10_000, 250):
        pulse.see(beat(second, 1.0), second)
        assert not pulse.hung(second + 249)


def test_an_attempt_that_stands_still_hangs_after_the_limit() -> None:
    pulse = Pulse(since_s=0.0)
    pulse.see(beat(7, 1.0), 100.0)
    for second in range(100, 400):
        pulse.see(beat(7, 1.0), second)
        assert not pulse.hung(second)
    assert pulse.hung(401.0)


def test_waiting_for_a_device_is_no_silence() -> None:
    pulse = Pulse()
    for second in range(0, 100_000, 1000):
        pulse.see({}, second)
        assert not pulse.hung(second)


def test_a_start_is_given_longer() -> None:
    pulse = Pulse()
    pulse.see(beat(0), 1000.0)
    assert not pulse.hung(1000.0)
    pulse.see(beat(1), 1700.0)
    assert not pulse.hung(3400.0)
    assert pulse.hung(3600.0)
