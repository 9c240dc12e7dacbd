"""Tells an attempt that hangs from one that is slow: by how long it has been silent against its own pace. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

START_LIMITS = 6  # times as long before the second beat: decoding a data set, compiling
SLOWEST_STEPS = 20  # silent for so many times the slowest step so far
LEAST_LIMIT_S = 300.0  # whatever the pace: an evaluation's end, a checkpoint, a file system that hiccups


def limit_s(longest_step_s: float | None, least_s: float = LEAST_LIMIT_S) -> float:
    """Seconds of silence that are too long.

    Args:
        longest_step_s: the longest time between two beats of this attempt so far; None before the second.
        least_s: the limit is never below that, and it is ``START_LIMITS`` times that while there is no pace yet.
    """
    if longest_step_s is None:
        return START_LIMITS * least_s
    return max(least_s, SLOWEST_STEPS * longest_step_s)


@dataclass
class Pulse:
    """One attempt's beats, as this process sees them: by its own clock, whatever the worker's says.

    An attempt that has no ``progress.json`` yet waits for its device, for however long: that is no silence.

    Attributes:
        since_s: when the newest beat was first seen, on the caller's clock; None before the file is there.
    """

    since_s: float | None = None
    beats: int = -1
    longest_step_s: float | None = None

    def see(self, progress: Mapping[str, Any], now_s: float) -> None:
        """The attempt's ``progress.json`` as it is now."""
        beats = int(progress.get("beats", -1))
        if beats != self.beats:
            self.beats, self.since_s = beats, now_s
            self.longest_step_s = progress.get("longest_step_s")

    def hung(self, now_s: float, least_s: float = LEAST_LIMIT_S) -> bool:
        """Whether it has been silent for too long."""
        return self.since_s is not None and now_s - self.since_s > limit_s(self.longest_step_s, least_s)
