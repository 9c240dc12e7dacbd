"""How many stages share this process: what one took, in time and memory, tells little without it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_LOCK = threading.Lock()
_present: list[Company] = []


@dataclass(eq=False)
class Company:
    """The most stages that ran beside one at any moment of its run."""

    most: int = 0


@contextmanager
def company() -> Iterator[Company]:
    """Run a stage in this process, beside whichever others are in theirs."""
    own = Company()
    with _LOCK:
        _present.append(own)
        for each in _present:
            each.most = max(each.most, len(_present) - 1)
    try:
        yield own
    finally:
        with _LOCK:
            _present.remove(own)
