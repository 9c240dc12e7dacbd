"""How every benchmark takes time: interleaved, so that a slow minute of the machine hits all alike, and by medians."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import count
from statistics import median

import torch

Clock = Callable[[], float]
"""Seconds since some moment."""

Epoch = Callable[[int], None]
"""The work of the epoch of that number."""


def wall_clock(device: torch.device) -> Clock:
    """Wall-clock time at which the device has done all that it was given."""
    if device.type != "cuda":
        return time.perf_counter

    def now() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return now


def work_clock(device: torch.device) -> Clock:
    """The wall clock on a GPU; on a CPU this process's time on its cores, which a busy machine does not stretch."""
    return wall_clock(device) if device.type == "cuda" else time.process_time


def seconds(clock: Clock, work: Callable[[], object]) -> float:
    """How long a piece of work takes."""
    began = clock()
    work()
    return clock() - began


def next_epoch(clock: Clock, epoch: Epoch) -> Callable[[], float]:
    """How long the next epoch takes, whenever it is called."""
    numbers = count()
    return lambda: seconds(clock, lambda: epoch(next(numbers)))


def interleaved(measures: Mapping[str, Callable[[], float]], repeats: int, *, warm_up: bool = True) -> dict[str, float]:
    """The median of so many repeats of each measure, by name, after one of each that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(repeats + warm_up):
        for name, measure in measures.items():
            taken[name].append(measure())
    return {name: median(times[warm_up:]) for name, times in taken.items()}
