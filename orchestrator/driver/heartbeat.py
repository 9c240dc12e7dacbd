"""Tells a hung attempt from a slow one by its silence, measured against its own pace. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

START_FACTOR = 6  # before the second beat: decoding a data set, compiling
SLOWEST_STEPS = 20  # in units of the attempt's slowest step so far
LEAST_LIMIT_S = 300.0  # whatever the pace: an evaluation's end, a checkpoint, a file system that hiccups


def limit_s(longest_step_s: float | None, least_s: float = LEAST_LIMIT_S) -> float:
    """Seconds of silence after which an attempt counts as hung.

    Args:
        longest_step_s: longest time between two beats of this attempt so far; None before the second beat.
        least_s: lower bound of the limit, which is ``START_FACTOR`` times this bound before the second beat.
    """
    if longest_step_s is None:
        return START_FACTOR * least_s
    return max(least_s, SLOWEST_STEPS * longest_step_s)


@dataclass
class Heartbeat:
    """One attempt's beats, timed by this process's clock, not the worker's.

    An attempt without a ``progress.json`` waits for its device, for however long: that is no silence.

    Attributes:
        since_s: when the newest beat was first read, on the caller's clock; None before the file exists.
    """

    since_s: float | None = None
    beats: int = -1
    longest_step_s: float | None = None

    def update(self, progress: Mapping[str, Any], now_s: float) -> None:
        """Take in the attempt's current ``progress.json``."""
        beats = int(progress.get("beats", -1))
        if beats != self.beats:
            self.beats, self.since_s = beats, now_s
            self.longest_step_s = progress.get("longest_step_s")

    def hung(self, now_s: float, least_s: float = LEAST_LIMIT_S) -> bool:
        """Whether the silence exceeds the limit."""
        return self.since_s is not None and now_s - self.since_s > limit_s(self.longest_step_s, least_s)
