"""Loss and error of a network on a split, and the re-estimation of its batch-norm statistics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.data.batches import EVALUATION_BATCH, Split, Splits, augmented, draw_epoch

BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(frozen=True)
class Outcomes:
    """Per image of a split: the cross-entropy in nats, float64, and whether the answer was wrong, float64 0 or 1."""

    loss_nats: Tensor
    error: Tensor

    @property
    def mean_loss_nats(self) -> float:
        return float(self.loss_nats.mean())

    @property
    def error_percent(self) -> float:
        return 100 * float(self.error.mean())


@torch.no_grad()
def evaluate(model: nn.Module, splits: Splits, split: Split) -> Outcomes:
    """Outcomes of every image, in evaluation mode and with the model's own psi (alpha = 0)."""
    training = model.training
    model.eval()
    losses, errors = [], []
    for start in range(0, len(split), EVALUATION_BATCH):
        images = splits.normalized(split[start : start + EVALUATION_BATCH])
        labels = split.labels[start : start + EVALUATION_BATCH]
        logits = model(images)
        losses.append(F.cross_entropy(logits, labels, reduction="none"))
        errors.append(logits.argmax(1) != labels)
    model.train(training)
    return Outcomes(torch.cat(losses).double().cpu(), torch.cat(errors).double().cpu())


@torch.no_grad()
def reestimate_statistics(
    model: nn.Module,
    splits: Splits,
    *,
    images: int | None,
    batch_size: int,
    momentum: float | None,
    augmentation: str,
    draw_seed: int,
) -> None:
    """Replace the running statistics of batch norm, in place, by those of augmented training images.

    Args:
        images: how many; None takes the whole training split. The same seed draws the same images.
        momentum: None resets and averages cumulatively; a number is one pass of that moving average, which
            remembers about the last 2 / momentum batches only (the released code: 0.1).
    """
    norms = [module for module in model.modules() if isinstance(module, BATCH_NORM)]
    if not norms:
        return
    own = [norm.momentum for norm in norms]
    for norm in norms:
        if momentum is None:
            norm.reset_running_stats()
        norm.momentum = momentum
    training = model.training
    model.train()
    total = len(splits.train)
    draws = draw_epoch(total, draw_seed, 0, splits.train.device)[: images or total]
    with _without_dropout(model):
        for batch in draws.batches(batch_size):
            if len(batch.order) > 1:  # a batch of one has no variance
                model(splits.normalized(augmented(splits.train, batch, augmentation)))
    model.train(training)
    for norm, value in zip(norms, own, strict=True):
        norm.momentum = value


@contextmanager
def _without_dropout(model: nn.Module) -> Iterator[None]:
    """Dropout would add noise to the statistics and draw from the global generator."""
    dropouts = [m for m in model.modules() if isinstance(m, nn.Dropout | nn.Dropout1d | nn.Dropout2d)]
    modes = [module.training for module in dropouts]
    for module in dropouts:
        module.eval()
    try:
        yield
    finally:
        for module, mode in zip(dropouts, modes, strict=True):
            module.train(mode)
