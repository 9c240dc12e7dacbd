"""CUDA streams, each leased to one stage of the process at a time.

torch hands out the same 32 streams in turn. Stages that run at the same time would then share what libraries keep per
stream, such as the workspace of cuBLAS, whose address a graph remembers.
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
    """Lease a stream; give it back with ``return_stream``.

    Raises:
        RuntimeError: all streams are leased.
    """
    with _LOCK:
        for _ in range(POOL):
            stream = torch.cuda.Stream(device)
            if (stream.device, stream.cuda_stream) not in _leased:
                _leased.add((stream.device, stream.cuda_stream))
                return stream
    raise RuntimeError(f"more than {POOL} stages share {device}; give a smaller --pack")


def return_stream(stream: torch.cuda.Stream) -> None:
    """Return a leased stream to the pool."""
    with _LOCK:
        _leased.remove((stream.device, stream.cuda_stream))


@contextmanager
def exclusive_stream(device: torch.device) -> Iterator[None]:
    """On a GPU, run the block on a leased stream, so that packed trainings overlap."""
    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device):
        outer, leased = torch.cuda.current_stream(), lease_stream(device)
        try:
            leased.wait_stream(outer)
            with torch.cuda.stream(leased):
                yield
            outer.wait_stream(leased)
        finally:
            leased.synchronize()
            return_stream(leased)
