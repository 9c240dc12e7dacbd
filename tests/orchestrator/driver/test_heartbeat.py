"""A slow attempt is not hung: it is judged by its own pace, on one clock."""

from __future__ import annotations

import pytest

from orchestrator.driver.supervision import Heartbeat, limit_s
from orchestrator.store.values import Progress


def beat(number: int, longest_step_s: float | None = None) -> Progress:
    return Progress(beats=number, longest_step_s=longest_step_s)


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


def test_an_attempt_with_new_beats_never_hangs() -> None:
    heartbeat = Heartbeat(since_s=0.0)
    for second in range(0, 10_000, 250):
        heartbeat.update(beat(second, 1.0), second)
        assert not heartbeat.hung(second + 249)


def test_an_attempt_without_new_beats_hangs_after_the_limit() -> None:
    heartbeat = Heartbeat(since_s=0.0)
    heartbeat.update(beat(7, 1.0), 100.0)
    for second in range(100, 400):
        heartbeat.update(beat(7, 1.0), second)
        assert not heartbeat.hung(second)
    assert heartbeat.hung(401.0)


def test_the_wait_for_a_device_does_not_count_as_silence() -> None:
    heartbeat = Heartbeat()
    for second in range(0, 100_000, 1000):
        heartbeat.update(Progress(), second)
        assert not heartbeat.hung(second)


def test_the_limit_is_longer_before_the_second_beat() -> None:
    heartbeat = Heartbeat()
    heartbeat.update(beat(0), 1000.0)
    assert not heartbeat.hung(1000.0)
    heartbeat.update(beat(1), 1700.0)
    assert not heartbeat.hung(3400.0)
    assert heartbeat.hung(3600.0)
