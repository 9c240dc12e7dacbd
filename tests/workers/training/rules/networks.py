"""A small network, sparse at half density, and its training under rules; shared by the tests of the rules."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import tickets
from tests.workers.training.test_trainer import fresh, half_masks
from workers.data.splits import Splits
from workers.stages import UNIFORM, Optimizer, Rules, Training
from workers.stages.execution import Control
from workers.training.trainer import TrainingLog, train

SGD = Optimizer(0.05, "sgd", 0.9, 5e-4)
BATCH = 32
EPOCH_STEPS = 7  # 207 images, with a short last batch


def trained(
    splits: Splits,
    rules: Rules,
    *,
    epochs: int = 3,
    spec: Optimizer = SGD,
    aws: bool = False,
    control: Control | None = None,
    model: nn.Module | None = None,
) -> tuple[nn.Module, dict[str, Tensor], TrainingLog]:
    """Train; return the network, its masks after the training, and the log."""
    model = fresh() if model is None else model
    masks = half_masks(model)
    log = train(
        model,
        Training(epochs, BATCH, spec, rules=rules),
        splits,
        masks=masks,
        alpha=UNIFORM if aws else None,
        sgd_seed=7,
        watched={"validation": splits.validation},
        control=control or Control(),
        roles=tickets.parameter_roles(model, 3),
    )
    return model, masks, log


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks are equal bit for bit."""
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())
