"""The step is one fixed list of device operations, which is what makes a CUDA graph of it right."""

import copy
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import tickets
from tests.workers.devices.tape import Tape
from workers.data.augmentation import draw_epoch
from workers.data.splits import Splits
from workers.models import build_model
from workers.models.resnet_small import SmallResNet
from workers.pruning.masking import Masking
from workers.stages import Model, Optimizer, Precision
from workers.training.psi import PsiInterpolation
from workers.training.step import Step, make_optimizer

SGD = Optimizer(0.05, "sgd", 0.9, 5e-4)
ADAM = Optimizer(1e-3, "adam", 0.9, 1e-3)
ALPHAS = torch.tensor([0.7, 0.1, 0.9, 0.4, 0.0, 1.0])


def make_step(
    splits: Splits, spec: Optimizer, *, aws: bool, precision: Precision = "float32"
) -> tuple[nn.Module, Step, torch.optim.Optimizer]:
    model = build_model(Model("resnet1d", {"width": 4}), in_channels=1, num_classes=3, init_seed=3)
    model = model.to(memory_format=torch.channels_last).train()
    stream = torch.Generator().manual_seed(0)
    masks = {
        name: torch.rand(model.get_parameter(name).shape, generator=stream) < 0.5
        for name in tickets.prunable_names(model, 3)
    }
    masking = Masking(model, masks)
    masking.mask_weights_()
    optimizer = make_optimizer(model, spec)
    interpolation = PsiInterpolation(model) if aws else None
    return model, Step(model, optimizer, masking, interpolation, replace(splits, precision=precision)), optimizer


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("aws", [True, False], ids=["aws", "lrr"])
@pytest.mark.parametrize("spec", [SGD, ADAM], ids=["sgd", "adam"])
def test_replaying_one_recorded_step_equals_eager_steps_on_every_batch(
    splits: Splits, spec: Optimizer, aws: bool, precision: Precision
) -> None:
    batches = list(splits.train.drawn(draw_epoch(len(splits.train), 1, 0, "none"), 32, "none"))[: len(ALPHAS)]
    eager_model, eager, _ = make_step(splits, spec, aws=aws, precision=precision)
    for batch, alpha in zip(batches, ALPHAS, strict=True):
        eager(batch.images, batch.labels, alpha)

    model, step, _ = make_step(splits, spec, aws=aws, precision=precision)
    images, labels, alpha = batches[0].images.clone(), batches[0].labels.clone(), ALPHAS[0].clone()
    with Tape() as tape:
        step(images, labels, alpha)
    for batch, value in zip(batches[1:], ALPHAS[1:], strict=True):
        images.copy_(batch.images)
        labels.copy_(batch.labels)
        alpha.copy_(value)
        tape.replay()

    assert tape.reads_by_host == []
    for name, tensor in eager_model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    assert torch.equal(step.sums, eager.sums)


def test_the_tape_detects_an_operation_that_waits_for_the_host() -> None:
    with Tape() as tape:
        torch.ones(3).sum().item()
    assert tape.reads_by_host


class NoUpdate:
    """Replaces the optimizer, whose fused kernels do not run on the meta device."""

    def zero_grad(self) -> None: ...

    def step(self) -> None: ...


class Crossings(TorchDispatchMode):
    """Collects the names of operations that mix tensors of two devices."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        devices = {leaf.device.type for leaf in tree_leaves((args, result)) if isinstance(leaf, Tensor)}
        if len(devices) > 1:
            self.operations.append(str(func))
        return result


def test_a_step_neither_waits_for_the_host_nor_copies_from_it(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    # the meta device stands in for a GPU: reading a value raises, and mixing it with the CPU is detected
    monkeypatch.setattr(Splits, "autocast", lambda self: nullcontext())
    with torch.device("meta"):
        model = SmallResNet(3, 10, (4, 8, 16), 1).train()
        on_meta = replace(splits, mean=torch.zeros(1, 3, 1, 1), inverse_std=torch.ones(1, 3, 1, 1))
        images, labels = torch.zeros(8, 3, 32, 32, dtype=torch.uint8), torch.zeros(8, dtype=torch.int64)
        alpha = torch.tensor(0.5)
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in model.named_parameters() if p.dim() == 4}
    masking, interpolation = Masking(model, masks), PsiInterpolation(model)
    step = Step(model, NoUpdate(), masking, interpolation, on_meta)  # type: ignore[arg-type]
    with Crossings() as crossings:
        step(images, labels, alpha)
    assert crossings.operations == []
    assert model.conv.weight.grad.is_meta
    with pytest.raises(RuntimeError, match="meta"):
        step.sums[0].item()


def test_allocating_the_optimizers_state_in_advance_changes_no_step() -> None:
    torch.manual_seed(0)
    one = nn.Linear(3, 2)
    two = copy.deepcopy(one)
    ours = make_optimizer(one, SGD)
    theirs = torch.optim.SGD(two.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    assert all(not state["momentum_buffer"].any() for state in ours.state.values())
    for _ in range(3):
        for model, optimizer in ((one, ours), (two, theirs)):
            optimizer.zero_grad()
            model(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
