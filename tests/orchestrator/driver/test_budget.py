"""A budget of device time, with a clock of its own."""

from __future__ import annotations

import pytest

from orchestrator.driver.budget import CHECKPOINT_S, Budget, spent_before
from orchestrator.store.record import Record
from orchestrator.terminal.units import parse_budget


def test_running_stages_count_with_their_devices_and_keep_time_to_checkpoint() -> None:
    budget = Budget(limit_s=1000, spent_s=100)
    budget.started("a", 2, 4, now_s=0)
    budget.started("b", 1, 4, now_s=10)
    assert budget.left_s(now_s=20) == 900 - 2 * 20 - 10 - 3 * CHECKPOINT_S
    budget.ended("a", now_s=30)
    budget.ended("b", now_s=30)
    assert budget.left_s(now_s=1e9) == 900 - 60 - 20


def test_a_device_counts_once_however_many_stages_share_it_and_in_full_for_one() -> None:
    budget = Budget(limit_s=1000)
    budget.started("a", 1, 1, now_s=0)  # alone on the only GPU
    for number, name in enumerate("bcd", start=1):
        budget.started(name, 1, 1, now_s=10 * number)
    budget.ended("a", now_s=40)
    assert (budget.in_use, budget.spent_s) == (1, 40)
    budget.started("e", 1, 2, now_s=50)  # a second GPU has joined
    assert budget.left_s(now_s=60) == 1000 - 50 - 2 * 10 - 2 * CHECKPOINT_S


@pytest.mark.parametrize(
    ("text", "price_usd", "hours"), [("40h", None, 40), ("0.5 h", None, 0.5), ("200USD", 0.8, 250), ("1USD", 2, 0.5)]
)
def test_a_budget_is_device_hours_or_a_sum_at_a_price(text: str, price_usd: float | None, hours: float) -> None:
    assert parse_budget(text, price_usd) == pytest.approx(hours * 3600)


@pytest.mark.parametrize("text", ["40", "h", "-1h", "0h", "1e3h", "40 days", "٤h", "1_0h", "200EUR", ""])
def test_another_text_is_no_budget(text: str) -> None:
    with pytest.raises(ValueError, match="--budget"):
        parse_budget(text, 1.0)


def test_a_sum_needs_a_price() -> None:
    with pytest.raises(ValueError, match="give --price"):
        parse_budget("200USD", None)


def test_earlier_runs_count_with_their_results_and_with_attempts_that_came_to_nothing() -> None:
    gang = {"training": {"gang": {"ranks": 2}}}
    records = {
        "a": Record.model_construct(key="a", science=gang, seconds=100.0, provenance={}),
        "b": Record.model_construct(key="b", science={}, seconds=60.0, provenance={"stages_beside": 2}),
        "other": Record.model_construct(key="other", science={}, seconds=1e9, provenance={}),
    }
    told = [
        (0, "started", "a", 1),
        (5, "started", "c", 1),
        (10, "interrupted", "a", 1),
        (20, "started", "a", 2),
        (25, "failed", "c", 1),
        (30, "started", "c", 2),  # killed: no end
        (120, "done", "a", 2),
    ]
    events = [dict(zip(("time_unix_s", "event", "key", "attempt"), each, strict=True)) for each in told]
    events.append({"time_unix_s": 130, "event": "blocked", "key": "d"})
    assert spent_before({"a": 2, "b": 1, "c": 1}, records, events) == 2 * 100 + 60 / 3 + 2 * 10 + 20
