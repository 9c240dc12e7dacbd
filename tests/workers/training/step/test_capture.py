"""Capturing a step, with recorded operations in place of a CUDA graph; test_gpu.py uses real graphs."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from tests.workers.devices.tape import Tape
from tests.workers.training.step.test_step import SGD, make_step
from workers.data.augmentation import draw_epoch
from workers.data.splits import Splits
from workers.devices import health
from workers.training.capture import CapturedStep, StepFunction
from workers.training.step import TrainingState

Capture = Callable[[CapturedStep, Mapping[str, Tensor], tuple[Tensor, ...]], StepFunction]


def recorded(captured: CapturedStep, before: Mapping[str, Tensor], inputs: tuple[Tensor, ...]) -> StepFunction:
    """Do as CapturedStep does on a GPU: warm up, restore the state, record."""
    static = tuple(tensor.clone() for tensor in inputs)
    captured._step(*static)
    captured._state.unpack(before)
    with Tape() as tape:
        captured._step(*static)

    def replay(*given: Tensor) -> None:
        for held, tensor in zip(static, given, strict=True):
            held.copy_(tensor)
        tape.replay()

    return replay


def wrong(captured: CapturedStep, before: Mapping[str, Tensor], inputs: tuple[Tensor, ...]) -> StepFunction:
    return lambda images, labels, alpha: recorded(captured, before, inputs)(images.flip(0), labels, alpha)


def impossible(captured: CapturedStep, before: Mapping[str, Tensor], inputs: tuple[Tensor, ...]) -> StepFunction:
    captured._step(*inputs)
    raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.parametrize(
    ("capture", "warning"),
    [(recorded, ""), (wrong, "differs from the eager step"), (impossible, "not permitted when stream")],
)
def test_a_captured_training_equals_the_eager_one_even_if_the_capture_is_wrong_or_fails(
    splits: Splits,
    capture: Capture,
    warning: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(CapturedStep, "_capture", capture)
    model, step, optimizer = make_step(splits, SGD, aws=True)
    captured = CapturedStep(step, TrainingState(model, optimizer, step.sums, generators=False), exact=True)
    eager_model, eager, _ = make_step(splits, SGD, aws=True)
    batches = list(splits.train.drawn(draw_epoch(len(splits.train), 1, 0, "none"), 32, "none"))
    assert len({len(batch.labels) for batch in batches}) == 2  # so the tail is captured too
    with caplog.at_level(logging.WARNING):
        for index, batch in enumerate(batches):
            alpha = torch.tensor(index / 10)
            captured(batch.images, batch.labels, alpha)
            eager(batch.images, batch.labels, alpha)
    for name, tensor in eager_model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    assert warning in caplog.text
    assert bool(warning) == bool(caplog.records)


class FakeGraph:
    """A graph of recorded operations, with the pool that ``torch.cuda.graph`` gave it."""

    alive: ClassVar[weakref.WeakSet[FakeGraph]] = weakref.WeakSet()

    def __init__(self) -> None:
        self.tape, self.pool_id = Tape(), object()
        self.alive.add(self)

    def pool(self) -> object:
        return self.pool_id

    def replay(self) -> None:
        self.tape.replay()


@contextmanager
def fake_capture(graph: FakeGraph, pool: object, stream: object, *, capture_error_mode: str) -> Iterator[None]:
    assert capture_error_mode == "thread_local"
    graph.pool_id = pool or graph.pool_id
    with graph.tape:
        yield


@pytest.mark.parametrize("exact", [True, False])
def test_graphs_of_a_training_share_their_memory_and_live_as_long(
    splits: Splits, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    emptied: list[int] = []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", fake_capture)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(len(FakeGraph.alive)))
    monkeypatch.setattr(health, "FAILED_CAPTURES_SPOIL", True)
    monkeypatch.setattr(health, "_spoiled", threading.Event())
    model, step, optimizer = make_step(splits, SGD, aws=True)
    captured = CapturedStep(step, TrainingState(model, optimizer, step.sums, generators=False), exact=exact)
    sizes = (32, 7, 5)
    for batch in (next(splits.train.in_order(size)) for size in sizes):
        captured(batch.images, batch.labels, torch.tensor(0.5))
    gc.collect()
    assert len(FakeGraph.alive) == len(sizes)
    assert len({graph.pool_id for graph in FakeGraph.alive}) == 1
    assert len(emptied) == (len(sizes) if exact else 0)
    assert not health.spoiled()

    def break_off(*inputs: Tensor) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    captured._step = break_off
    with pytest.raises(RuntimeError, match="not permitted"):
        captured(batch.images[:3], batch.labels[:3], torch.tensor(0.5))
    assert health.spoiled()
