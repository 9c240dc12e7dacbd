"""Time variants interleaved, so that a slow minute of the machine affects all of them, and take medians."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from statistics import median

import torch

Clock = Callable[[], float]
"""Seconds since some moment."""

Epoch = Callable[[int], None]
"""The work of the epoch of that number."""


def wall_clock(device: torch.device) -> Clock:
    """Return the wall-clock time once the device has finished its work."""
    if device.type != "cuda":
        return time.perf_counter

    def now() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return now


def work_clock(device: torch.device) -> Clock:
    """Return the wall clock on a GPU; on a CPU this process's CPU time, which other load does not lengthen."""
    return wall_clock(device) if device.type == "cuda" else time.process_time


def family_clock() -> float:
    """Return the CPU time of this process and of its child processes that run; Linux counts steps of 10 ms."""
    return time.process_time() + sum(_cpu_seconds(child.pid) for child in multiprocessing.active_children())


def _cpu_seconds(process: int | None) -> float:
    after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    user, system = after_name[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def seconds(clock: Clock, work: Callable[[], object]) -> float:
    """Run a piece of work and return its seconds."""
    began = clock()
    work()
    return clock() - began


def next_epoch(clock: Clock, epoch: Epoch) -> Callable[[], float]:
    """Return a function that runs the next epoch at each call and returns its seconds."""
    numbers = count()
    return lambda: seconds(clock, lambda: epoch(next(numbers)))


def interleaved(measures: Mapping[str, Callable[[], float]], repeats: int, *, warm_up: bool = True) -> dict[str, float]:
    """Run all measures in turn, ``repeats`` times after one warm-up; return each one's median by name."""
    taken: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(repeats + warm_up):
        for name, measure in measures.items():
            taken[name].append(measure())
    return {name: median(times[warm_up:]) for name, times in taken.items()}
