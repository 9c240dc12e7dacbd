"""Our training against an independent one in float64 NumPy (float64_reference.py), after every step.

In float64 the two agree to ``EXACT``: what is compared is the method, and not its rounding. In float32, which is what
runs, they agree to ``ROUNDING``. The trainer's own checkpoints, one before every step, say where it stands: weights,
psi, running statistics, the optimizer's moments, and the sums of loss and right answers. What lies around a training
(pruning, transfers, which trainings interpolate psi) is compared stage by stage.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import tickets
from tests.workers.training import float64_reference as by_hand
from tests.workers.training.float64_reference import Array, Arrays, Layer, Reference
from workers.attempts.execute import run_stage
from workers.data.augmentation import draw_epoch
from workers.data.batches import ResidentSplit
from workers.data.splits import Splits
from workers.devices.seeds import generator
from workers.models import build_model
from workers.stages import UNIFORM, Model, Optimizer, Pretrain, Psi, Round, Schedule, Setting, Train, Training
from workers.stages.execution import Control, Execution
from workers.storage import artifacts, schemas
from workers.training.checkpoint import newest_checkpoint
from workers.training.psi import draw_alphas, psi_names
from workers.training.trainer import train

SGD = Optimizer(0.05, "sgd", 0.9, 5e-3)
ADAM = Optimizer(1e-2, "adam", 0.9, 5e-3)
SEED = 7
EPOCHS, BATCH = 3, 32  # 207 images: 7 steps an epoch, the last on 15 of them

EXACT = 1e-10  # measured: 1e-13
# float32 keeps 6e-8 of a number; steps carry that on to 4e-6. In a network of many activations one of them now and then
# lies so near to ReLU's kink that its gradient is there in the one and gone in the other, which moves a moment by 3e-3
ROUNDING = {"perceptron": 5e-5, "resnet1d": 2e-2}
WEIGHTS = 1e-2


def residual_blocks(blocks: int, halve: tuple[int, int]) -> Layer:
    """The reference's ResNet of three stages."""

    def block(number: int) -> Layer:
        name, reshaped = f"blocks.{number}", number > 0 and number % blocks == 0
        stride = halve if reshaped else (1, 1)
        straight = by_hand.chain(
            by_hand.convolution(f"{name}.conv1", stride),
            by_hand.batch_norm(f"{name}.bn1"),
            by_hand.relu,
            by_hand.convolution(f"{name}.conv2"),
            by_hand.batch_norm(f"{name}.bn2"),
        )
        shortcut = by_hand.chain(
            by_hand.convolution(f"{name}.shortcut.0", stride), by_hand.batch_norm(f"{name}.shortcut.1")
        )
        return by_hand.chain(by_hand.added(straight, shortcut if reshaped else by_hand.identity), by_hand.relu)

    stem = (by_hand.convolution("conv"), by_hand.batch_norm("bn"), by_hand.relu)
    return by_hand.chain(*stem, *map(block, range(3 * blocks)), by_hand.average, by_hand.linear("fc"))


def perceptron() -> nn.Module:
    """Linear layers with biases, batch norm and a layer norm with an eps of its own."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 24),
        nn.BatchNorm1d(24),
        nn.ReLU(),
        nn.Linear(24, 16),
        nn.LayerNorm(16, eps=0.01),
        nn.ReLU(),
        nn.Linear(16, 3),
    )


def perceptron_by_hand() -> Layer:
    return by_hand.chain(
        by_hand.flatten,
        by_hand.linear("1"),
        by_hand.batch_norm("2"),
        by_hand.relu,
        by_hand.linear("4"),
        by_hand.layer_norm("5", eps=0.01),
        by_hand.relu,
        by_hand.linear("7"),
    )


def ours(name: str) -> Callable[[], nn.Module]:
    model = Model(name, {"width": 4})
    return lambda: build_model(model, in_channels=1, num_classes=3, init_seed=3).to(memory_format=torch.channels_last)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Layer]] = {
    "resnet1d": (ours("resnet1d"), residual_blocks(1, (1, 2))),
    "resnet20": (ours("resnet20"), residual_blocks(3, (2, 2))),
    "perceptron": (perceptron, perceptron_by_hand()),
}


class Variant(NamedTuple):
    """A kind of training: whether psi is interpolated, and its schedule."""

    aws: bool
    schedule: Schedule


VARIANTS = {
    "aws": Variant(True, Schedule()),
    "lrr": Variant(False, Schedule()),
    "final": Variant(False, Schedule("steps", (1, 2), 0.1)),
}


class Drawn(NamedTuple):
    """A batch as the network sees it, with the step's alpha and learning rate."""

    images: Array
    labels: NDArray[np.int64]
    alpha: float
    rate: float


def drawn_epochs(splits: Splits, training: Training, sgd_seed: int, aws: bool) -> list[list[Drawn]]:
    """The batches of every epoch; trainer and reference share the draws."""
    assert isinstance(splits.train, ResidentSplit)
    source, rows = splits.train.source.numpy(), splits.train.rows.numpy()
    pixels = (source.astype(np.float32) - splits.mean.numpy()) * splits.inverse_std.numpy()
    epochs, full, schedule = [], training.optimizer.learning_rate, training.schedule
    for epoch in range(training.epochs):
        rate = full * schedule.factor ** sum(milestone <= epoch for milestone in schedule.milestones)
        order = draw_epoch(len(rows), sgd_seed, epoch, "none").order.numpy()
        starts = range(0, len(order), training.batch_size)
        alphas = draw_alphas(UNIFORM, len(starts), generator(sgd_seed, "alpha", epoch)).tolist()
        batches = []
        for start, alpha in zip(starts, alphas, strict=True):
            chosen = order[start : start + training.batch_size]
            images, labels = pixels[rows[chosen]].astype(np.float64), splits.train.labels.numpy()[chosen]
            batches.append(Drawn(images, labels, alpha if aws else 0.0, rate))
        epochs.append(batches)
    return epochs


def prepared(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """A network in the middle of pruning: psi away from its initialisation, and masks of density 0.3."""
    model = NETWORKS[name][0]()
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for psi in psi_names(model):
            parameter = model.get_parameter(psi)
            parameter.add_(0.4 * torch.randn(parameter.shape, generator=stream))
    masks = {
        weight: torch.rand(model.get_parameter(weight).shape, generator=stream) < 0.3
        for weight in tickets.prunable_names(model, 3)
    }
    return model, masks


def state_of(model: nn.Module) -> Arrays:
    return {name: tensor.numpy().astype(np.float64) for name, tensor in model.state_dict().items()}


Position = tuple[int, int]
"""Epoch, and how many batches of it are done."""


def our_course(
    model: nn.Module, training: Training, splits: Splits, masks: dict[str, Tensor], aws: bool, folder: Path
) -> dict[Position, Arrays]:
    """The trainer's state after every step."""
    course: dict[Position, Arrays] = {}

    def keep(written: Path) -> None:
        snapshot = newest_checkpoint([written])
        assert snapshot is not None
        arrays = {name: tensor.numpy().astype(np.float64) for name, tensor in snapshot.tensors.items()}
        # the first checkpoint at a position still has the epoch's sums
        course.setdefault((snapshot.position.epoch, snapshot.position.batch), arrays)

    control = Control(checkpoints=folder, checkpointed=keep, checkpoint_interval_s=0)
    alpha = UNIFORM if aws else None
    log = train(model, training, splits, masks=masks, alpha=alpha, sgd_seed=SEED, watched={}, control=control)
    images = len(splits.train)
    (last,) = (row for row in log.metrics if row["epoch"] == training.epochs)
    end = {f"model.{name}": array for name, array in state_of(model).items()}
    sums = np.array([last["loss_nats"], last["accuracy_percent"] / 100]) * images
    return {**course, (training.epochs, 0): {**end, "sums": sums}}


def their_course(
    reference: Reference, names: list[str], training: Training, splits: Splits, aws: bool
) -> dict[Position, Arrays]:
    """The reference's state after every step, under the same names."""

    def state() -> Arrays:
        network = {f"model.{name}": array for name, array in (reference.parameters | reference.statistics).items()}
        moments = {
            f"optimizer.{index}.{moment}": array
            for index, name in enumerate(names)
            for moment, array in reference.moments[name].items()
        }
        return {**network, **moments, "sums": reference.sums.copy()}

    course = {(0, 0): state()}
    for epoch, batches in enumerate(drawn_epochs(splits, training, SEED, aws)):
        reference.sums[:] = 0
        for number, batch in enumerate(batches, 1):
            reference.step(batch.images, batch.labels, alpha=batch.alpha, rate=batch.rate)
            course[(epoch, number) if number < len(batches) else (epoch + 1, 0)] = state()
    return course


def assert_same_course(actual: dict[Position, Arrays], expected: dict[Position, Arrays], tolerance: float) -> None:
    assert actual.keys() == expected.keys()
    for position, arrays in actual.items():
        for name, array in arrays.items():
            if not name.endswith(".step") and not name.startswith(
                "signs"
            ):  # torch's count of Adam's steps, and records
                where = f"{name} at epoch {position[0]}, batch {position[1]}"
                np.testing.assert_allclose(array, expected[position][name], tolerance, tolerance, err_msg=where)


def compare(
    name: str, spec: Optimizer, variant: Variant, splits: Splits, folder: Path, *, double: bool, tolerance: float
) -> None:
    training = Training(EPOCHS, BATCH, spec, variant.schedule)
    model, masks = prepared(name)
    if double:
        model = model.double()
        model.register_forward_pre_hook(lambda module, inputs: (inputs[0].double(),))
    optimizer = by_hand.Sgd(0.9, 5e-3) if spec is SGD else by_hand.Adam(5e-3)
    bare = {weight: mask.numpy() for weight, mask in masks.items()}
    reference = Reference(NETWORKS[name][1], state_of(model), bare, optimizer)
    names = [parameter for parameter, _ in model.named_parameters()]
    expected = their_course(reference, names, training, splits, variant.aws)
    actual = our_course(model, training, splits, masks, variant.aws, folder)
    assert len(actual) == 1 + EPOCHS * math.ceil(len(splits.train) / BATCH) == 22
    assert sum(f"optimizer.{len(names) - 1}.{optimizer.moments[-1]}" in arrays for arrays in actual.values()) == 21
    assert_same_course(actual, expected, tolerance)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("spec", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("name", ["resnet1d", "perceptron"])
def test_every_step_in_float64_equals_the_reference(
    splits: Splits, tmp_path: Path, name: str, spec: Optimizer, variant: str
) -> None:
    compare(name, spec, VARIANTS[variant], splits, tmp_path, double=True, tolerance=EXACT)


def test_every_step_of_resnet20_in_float64_equals_the_reference(splits: Splits, tmp_path: Path) -> None:
    compare("resnet20", SGD, VARIANTS["aws"], splits, tmp_path, double=True, tolerance=EXACT)


@pytest.mark.parametrize("spec", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("name", ROUNDING)
def test_every_step_in_float32_equals_the_reference_up_to_rounding(
    splits: Splits, tmp_path: Path, name: str, spec: Optimizer
) -> None:
    compare(name, spec, VARIANTS["aws"], splits, tmp_path, double=False, tolerance=ROUNDING[name])


def signed_start(fresh: Arrays, trained: Arrays, masks: by_hand.Masks) -> Arrays:
    """A fresh network with the signs of a trained one; psi and statistics stay fresh."""
    signed = {name: abs(fresh[name]) * np.sign(trained[name]) for name in fresh if name in masks or "fc." in name}
    return fresh | signed


@pytest.mark.parametrize("psi", ["interpolated", "plain"], ids=["aws", "lrr"])
def test_every_stage_of_a_chain_equals_the_reference(
    splits: Splits, setting: Setting, execution: Execution, tmp_path: Path, psi: Psi
) -> None:
    network = NETWORKS["resnet1d"][1]

    def state(stage: str, file: str = schemas.WEIGHTS) -> Arrays:
        tensors = artifacts.load_weights(tmp_path / stage / file)[0]
        return {name: tensor.numpy().astype(np.float64) for name, tensor in tensors.items()}

    def check(stage: Pretrain | Round | Train, where: str, start: Arrays, masks: by_hand.Masks) -> None:
        reference = Reference(network, start, masks, by_hand.Sgd(0.9, 5e-3))  # a new optimizer, at rest
        interpolated = not isinstance(stage, Train) and stage.psi == "interpolated"
        for batch in itertools.chain(*drawn_epochs(splits, stage.training, stage.sgd_seed, interpolated)):
            reference.step(batch.images, batch.labels, alpha=batch.alpha, rate=batch.rate)
        expected = reference.parameters | reference.statistics
        actual = state(where)
        assert actual.keys() == expected.keys()
        for name, array in actual.items():
            np.testing.assert_allclose(array, expected[name], WEIGHTS, WEIGHTS, err_msg=f"{name} after {where}")

    rounds = Training(2, BATCH, SGD)
    pretrain = Pretrain(setting, rounds, psi, init_seed=1, sgd_seed=10)
    run_stage(pretrain, {}, tmp_path / "round0", execution)
    check(pretrain, "round0", state("round0", schemas.INIT), {})

    trained = state("round0")
    masks: by_hand.Masks = {name: np.ones(array.shape, bool) for name, array in trained.items() if array.ndim == 4}
    for number in (1, 2):
        round_ = Round(setting, rounds, psi, number, prune_fraction=0.5, sgd_seed=10 + number)
        run_stage(round_, {"previous": tmp_path / f"round{number - 1}"}, tmp_path / f"round{number}", execution)
        masks = by_hand.kept_after_pruning(trained, masks, 0.5)
        check(round_, f"round{number}", trained, masks)
        trained = state(f"round{number}")

    final = Training(2, BATCH, SGD, Schedule("steps", (1,), 0.1))
    transfer = Train(setting, final, tickets.TRANSFERS["signed"], init_seed=2, sgd_seed=20)
    run_stage(transfer, {"ticket": tmp_path / "round2"}, tmp_path / "signed", execution)
    fresh = state_of(build_model(setting.model, in_channels=1, num_classes=3, init_seed=2))
    check(transfer, "signed", signed_start(fresh, trained, masks), masks)
