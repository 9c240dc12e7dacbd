"""How many stages share this process: a stage's time and memory mean little without that number."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_LOCK = threading.Lock()
_running: list[Sharing] = []


@dataclass(eq=False)
class Sharing:
    """The largest number of other stages that ran beside a stage at any moment of its run."""

    peak_stages_beside: int = 0


@contextmanager
def shared_process() -> Iterator[Sharing]:
    """Count the stages that run in this process during the block."""
    sharing = Sharing()
    with _LOCK:
        _running.append(sharing)
        for each in _running:
            each.peak_stages_beside = max(each.peak_stages_beside, len(_running) - 1)
    try:
        yield sharing
    finally:
        with _LOCK:
            _running.remove(sharing)
