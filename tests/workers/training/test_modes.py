"""Trainings in bfloat16 and under torch.compile: what changes, what stays the same, and resuming in each mode."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.workers.training.test_trainer import SGD, fresh, half_masks, interrupted_after
from workers.data.splits import Splits
from workers.devices.memory import PeakMemory
from workers.models import build_model
from workers.stages import UNIFORM, Model, Precision, Training
from workers.stages.execution import Control, Interrupted
from workers.training.trainer import TrainingLog, train

pytestmark = pytest.mark.slow(seconds=30)


def run(
    model: nn.Module,
    splits: Splits,
    *,
    precision: Precision = "float32",
    compiled: bool = False,
    control: Control | None = None,
) -> TrainingLog:
    return train(
        model,
        Training(3, 32, SGD, compiled=compiled),
        replace(splits, precision=precision),
        masks=half_masks(model),
        alpha=UNIFORM,
        sgd_seed=7,
        watched={"validation": splits.validation},
        control=control or Control(),
    )


def states_equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(tensor, b.state_dict()[name]) for name, tensor in a.state_dict().items())


def test_bfloat16_changes_products_but_no_parameter_type_or_mask(splits: Splits) -> None:
    dtypes = set()
    plain, halved = fresh(), fresh()
    halved.conv.register_forward_hook(lambda module, inputs, output: dtypes.add(output.dtype))  # type: ignore[union-attr, operator]
    expected, actual = run(plain, splits), run(halved, splits, precision="bfloat16")
    assert torch.bfloat16 in dtypes
    assert {tensor.dtype for tensor in halved.state_dict().values()} == {torch.float32, torch.int64}
    assert not states_equal(plain, halved)
    for one, two in zip(expected.metrics, actual.metrics, strict=True):
        assert one["loss_nats"] == pytest.approx(two["loss_nats"], rel=0.05)
    for name, mask in half_masks(halved).items():
        assert not halved.get_parameter(name)[~mask].any()


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The programs that torch.compile captures, without its code generator, which takes a minute."""
    captured: list[Any] = []
    compile_ = torch.compile

    def backend(program: Any, inputs: Any) -> Any:
        captured.append(program)
        return program.forward

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", lambda f, **options: compile_(f, backend=backend, **options))
    yield captured
    torch._dynamo.reset()


def test_a_compiled_training_equals_the_eager_one_within_rounding(splits: Splits, programs: list[Any]) -> None:
    eager, compiled = fresh(), fresh()
    run(eager, splits)
    run(compiled, splits, compiled=True)
    assert len(programs) == 2  # full batches and the tail: whole graphs, with no break in them
    for name, tensor in eager.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.long
def test_any_number_of_architectures_is_compiled(splits: Splits, programs: list[Any]) -> None:
    # beyond its default limit of eight programs, torch would silently run eagerly and round differently
    for width in range(2, 7):
        model = build_model(Model("resnet1d", {"width": width}), in_channels=1, num_classes=3, init_seed=3)
        run(model, splits, compiled=True)
    assert len(programs) == 10


def test_an_architecture_is_compiled_once(splits: Splits, programs: list[Any]) -> None:
    for _ in range(3):
        run(fresh(), splits, compiled=True)
    assert len(programs) == 2


@pytest.mark.parametrize("mode", [{"precision": "bfloat16"}, {"compiled": True}], ids=["bfloat16", "compiled"])
def test_every_mode_resumes_to_the_same_bits(
    splits: Splits, tmp_path: Path, programs: list[Any], mode: dict[str, Any]
) -> None:
    undisturbed, again = fresh(), fresh()
    expected = run(undisturbed, splits, **mode)
    with pytest.raises(Interrupted):
        run(fresh(), splits, control=Control(checkpoints=tmp_path, should_stop=interrupted_after(10)), **mode)
    assert run(again, splits, control=Control(earlier=(tmp_path,)), **mode).metrics == expected.metrics
    assert states_equal(again, undisturbed)


def test_peak_memory_is_measured_per_stage() -> None:
    def peak_bytes(megabytes: int) -> int:
        memory = PeakMemory(torch.device("cpu"))
        torch.ones(megabytes * 250_000)
        peak = memory.read()
        if peak is None:
            pytest.skip("this system does not report the peak memory of a process")
        return peak

    large, small = peak_bytes(400), peak_bytes(1)
    assert 300e6 < large - small < 600e6
