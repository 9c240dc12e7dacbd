"""Budgets, sizes and the progress of a stage as a person says them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from workers.terminal.numbers import duration

_BUDGET = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?(h|USD)")


def parse_budget(text: str, price_usd: float | None) -> float:
    """Return a budget in device-seconds.

    Args:
        text: "40h", of device time, or "200USD".
        price_usd: per device and hour.

    Raises:
        ValueError: the text is no budget, or a budget in USD comes without a price.
    """
    match = _BUDGET.fullmatch(text)
    if match is None or float(match[1]) == 0:
        raise ValueError(f"--budget {text!r}: give device-hours, such as 40h, or a sum, such as 200USD with --price")
    if match[2] == "h":
        return float(match[1]) * 3600
    if not price_usd:
        raise ValueError(f"--budget {text}: give --price, the price of a device and hour in USD, with it")
    return float(match[1]) / price_usd * 3600


def size(count: int) -> str:
    """Return bytes in the unit that suits them; below 10 kB, as bytes."""
    if count < 10_000:
        return f"{count} bytes"
    value, unit = count / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}"


def running_stage(progress: Mapping[str, Any]) -> str:
    """Describe how far a running stage is.

    Args:
        progress: as the survey of a store gives it.
    """
    parts = [f"attempt {progress['attempt']}"]
    if progress["epoch"] is not None:
        parts.append(f"epoch {progress['epoch']} of {progress['epochs']}")
    if isinstance(progress["accuracy_percent"], int | float):
        parts.append(f"{progress['accuracy_percent']:.2f} %")
    if progress["host"]:
        parts.append(f"on {progress['host']}, pid {progress['pid']}")
    silent_s = progress["seconds_since_last_beat"]
    parts.append("no heartbeat yet" if silent_s is None else f"last heartbeat {duration(silent_s)} ago")
    return ", ".join(parts)
