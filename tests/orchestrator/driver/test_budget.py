"""A budget of device time, with a clock of its own."""

from __future__ import annotations

import pytest

from orchestrator.driver.budget import CHECKPOINT_S, Budget
from orchestrator.terminal.units import parse_budget


def test_running_stages_count_with_their_devices_and_keep_time_to_checkpoint() -> None:
    budget = Budget(limit_s=1000, spent_s=100)
    budget.started("a", 2, now_s=0)
    budget.started("b", 0.5, now_s=10)
    assert budget.left_s(now_s=20) == 900 - 2 * (20 + CHECKPOINT_S) - 0.5 * (10 + CHECKPOINT_S)
    budget.ended("a", now_s=30)
    budget.ended("b", now_s=30)
    assert budget.left_s(now_s=1e9) == 900 - 60 - 10


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
