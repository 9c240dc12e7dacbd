"""CUDA streams, each leased to one stage of the process at a time.

torch hands out the same 32 streams in turn. Stages that run at the same time would then share what libraries keep per
stream, such as the workspace of cuBLAS, whose address a graph remembers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

POOL = 32
_LOCK = threading.Lock()
_leased: set[tuple[torch.device, int]] = set()


@contextmanager
def leased_stream(device: torch.device) -> Iterator[torch.cuda.Stream]:
    """Lease a stream for the duration of the block.

    Raises:
        RuntimeError: all streams are leased.
    """
    with _LOCK:
        streams = (torch.cuda.Stream(device) for _ in range(POOL))
        stream = next((each for each in streams if (each.device, each.cuda_stream) not in _leased), None)
        if stream is None:
            raise RuntimeError(f"more than {POOL} streams of {device} are in use; give a smaller --pack")
        _leased.add((stream.device, stream.cuda_stream))
    try:
        yield stream
    finally:
        with _LOCK:
            _leased.remove((stream.device, stream.cuda_stream))


def set_aside(device: torch.device, start: Callable[[], object]) -> None:
    """Start a library that takes streams of torch's pool for itself, and lease those streams to nobody.

    The pool is a ring: of its streams in turn, the library's are those before the one that is handed out next.
    """
    with _LOCK:
        ring = [torch.cuda.Stream(device) for _ in range(POOL)]
        start()
        following = torch.cuda.Stream(device).cuda_stream
        taken = ring[: [stream.cuda_stream for stream in ring].index(following)]
        _leased.update((stream.device, stream.cuda_stream) for stream in taken)


@contextmanager
def exclusive_stream(device: torch.device) -> Iterator[None]:
    """On a GPU, run the block on a leased stream, so that packed trainings overlap."""
    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device), leased_stream(device) as leased:
        outer = torch.cuda.current_stream()
        try:
            leased.wait_stream(outer)
            with torch.cuda.stream(leased):
                yield
            outer.wait_stream(leased)
        finally:
            leased.synchronize()
