"""Capturing a step, with recorded operations in place of a CUDA graph; test_gpu.py uses real graphs."""

import logging
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from tests.workers.devices.tape import Tape
from tests.workers.training.test_step import SGD, make_step
from workers.data.augmentation import draw_epoch
from workers.data.splits import Splits
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
