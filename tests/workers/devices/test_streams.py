"""Streams and what crosses them, with a recorded stand-in for CUDA; test_gpu.py uses a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, cycle
from pathlib import Path
from threading import local
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from tests.support.image_sets import write_imagenet
from tests.workers.data.test_streaming import pictures
from workers.data.images import streaming
from workers.data.images.crops import Request
from workers.data.images.streaming import DeviceReader
from workers.devices import streams

GPU = torch.device("cuda")


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """torch's pool: the same streams in turn."""
    pool = cycle(range(streams.POOL))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: SimpleNamespace(device=device, cuda_stream=next(pool)))
    monkeypatch.setattr(streams, "_leased", set())
    return pool


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_streams_that_a_library_takes_are_leased_to_nobody(ring: Iterator[int], taken: int) -> None:
    own = set[int]()
    streams.set_aside(GPU, lambda: own.update(next(ring) for _ in range(taken)))
    leases = [streams.leased_stream(GPU) for _ in range(streams.POOL - taken)]
    assert {lease.__enter__().cuda_stream for lease in leases} == set(range(streams.POOL)) - own
    with pytest.raises(RuntimeError, match="smaller --pack"), streams.leased_stream(GPU):
        pass


def test_a_threads_last_crops_are_done_before_it_decodes_the_next_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decoder writes on its own stream into memory that queued crops still read (pytorch/vision#9606).

    The memory is that of the thread's stream, so the other thread's crops need not be waited for.
    """
    acts: dict[int, list[str]] = {}
    streams, events, used = count(), count(), local()
    waited: list[str] = []

    def act(name: str) -> None:
        acts[used.stream].append(name)

    def record_event() -> int:
        act("crops queued")
        return next(events)

    @contextmanager
    def leased(device: torch.device) -> Iterator[object]:
        number = next(streams)
        acts[number] = ["leased"]
        yield SimpleNamespace(number=number, synchronize=lambda: act("crops done"), record_event=record_event)
        acts[number].append("given back")

    @contextmanager
    def current(stream: SimpleNamespace) -> Iterator[None]:
        used.stream = stream.number
        yield

    def decode(encoded: list[Tensor]) -> list[Tensor]:
        act("decoded")
        return [torch.zeros(3, 8, 8, dtype=torch.uint8) for _ in encoded]

    monkeypatch.setattr(streaming, "leased_stream", leased)
    monkeypatch.setattr(streaming.jpeg, "is_plain", lambda content, most_pixels: True)
    monkeypatch.setattr(torch.cuda, "stream", current)
    consumer = SimpleNamespace(wait_event=lambda event: waited.append(f"waited for {event}"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: consumer)
    monkeypatch.setattr(Tensor, "record_stream", lambda images, stream: None)
    reader = DeviceReader(pictures(write_imagenet(tmp_path, train=1, val=1)), GPU, decode)
    rows = torch.arange(2).numpy()
    batches = list(reader.batches([Request(rows, (8, 8))] * 5))
    assert [batch.shape for batch in batches] == [(2, 3, 8, 8)] * 5
    load = ["crops done", "decoded", "crops queued"]
    assert acts == {0: ["leased", *load * 3, "given back"], 1: ["leased", *load * 2, "given back"]}
    assert sorted(waited) == [f"waited for {event}" for event in range(5)]
