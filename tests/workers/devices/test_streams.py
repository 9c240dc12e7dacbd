"""Streams and what crosses them, with a recorded stand-in for CUDA; test_gpu.py uses a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import count, cycle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from tests.support.image_sets import write_imagenet
from tests.workers.data.test_streaming import pictures
from workers.data.images import streaming
from workers.data.images.streaming import DeviceReader, Request
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


def test_the_last_batchs_crops_are_done_before_the_next_images_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decoder writes on its own stream into memory that queued crops still read (pytorch/vision#9606)."""
    acts: list[str] = []
    events = count()

    def record_event() -> int:
        acts.append("crops queued")
        return next(events)

    own = SimpleNamespace(synchronize=lambda: acts.append("crops done"), record_event=record_event)

    @contextmanager
    def leased(device: torch.device) -> Iterator[object]:
        acts.append("leased")
        yield own
        acts.append("given back")

    def decode(encoded: list[Tensor]) -> list[Tensor]:
        acts.append("decoded")
        return [torch.zeros(3, 8, 8, dtype=torch.uint8) for _ in encoded]

    monkeypatch.setattr(streaming, "leased_stream", leased)
    monkeypatch.setattr(streaming.jpeg, "is_plain", lambda content, most_pixels: True)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    consumer = SimpleNamespace(wait_event=lambda event: acts.append(f"waited for {event}"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: consumer)
    monkeypatch.setattr(Tensor, "record_stream", lambda images, stream: None)
    reader = DeviceReader(pictures(write_imagenet(tmp_path, train=1, val=1)), GPU, decode)
    rows = torch.arange(2).numpy()
    batches = list(reader.batches([Request(rows, None, 1.0, (8, 8))] * 2))
    assert [batch.shape for batch in batches] == [(2, 3, 8, 8)] * 2
    on_stream = [act for act in acts if not act.startswith("waited")]
    assert on_stream == ["leased", *["crops done", "decoded", "crops queued"] * 2, "given back"]
    assert [act for act in acts if act.startswith("waited")] == ["waited for 0", "waited for 1"]
