"""CUDA streams that nobody else in the process uses.

torch hands out the same 32 streams again and again, and what libraries keep per stream (cuBLAS its workspace, whose
address a graph remembers) is then shared by stages that run at the same time. So streams are leased.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

POOL = 32
_LOCK = threading.Lock()
_leased: set[tuple[torch.device, int]] = set()


def lease_stream(device: torch.device) -> torch.cuda.Stream:
    """A stream until ``return_stream``.

    Raises:
        RuntimeError: all are leased.
    """
    with _LOCK:
        for _ in range(POOL):
            stream = torch.cuda.Stream(device)
            if (stream.device, stream.cuda_stream) not in _leased:
                _leased.add((stream.device, stream.cuda_stream))
                return stream
    raise RuntimeError(f"more than {POOL} stages share {device}; give a smaller --pack")


def return_stream(stream: torch.cuda.Stream) -> None:
    """Give a leased stream back."""
    with _LOCK:
        _leased.remove((stream.device, stream.cuda_stream))


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """On a GPU, a stream of this thread's own, so that packed trainings overlap."""
    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device):
        outer, own = torch.cuda.current_stream(), lease_stream(device)
        try:
            own.wait_stream(outer)
            with torch.cuda.stream(own):
                yield
            outer.wait_stream(own)
        finally:
            own.synchronize()
            return_stream(own)
