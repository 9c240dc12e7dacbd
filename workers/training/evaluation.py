"""Loss and error of a network on a split, and the re-estimation of its batch-norm statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tickets.roles import BATCH_NORM
from workers.data.augmentation import draw_epoch
from workers.data.batches import Split
from workers.data.splits import Splits
from workers.devices.precision import autocast
from workers.stages import Augmentation, Precision
from workers.training.gang.member import ALONE, Member

EVALUATION_PIXELS = 1_024_000


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
def evaluate(
    models: Sequence[nn.Module],
    splits: Splits,
    split: Split,
    precision: Precision = "float32",
    before_batch: Callable[[], None] = lambda: None,
) -> list[Outcomes]:
    """Outcomes of every image under each model, in evaluation mode and with the model's own psi (alpha = 0).

    Each batch is loaded once and serves every model.
    """
    modes = [model.training for model in models]
    losses: list[list[Tensor]] = [[] for _ in models]
    errors: list[list[Tensor]] = [[] for _ in models]
    for model in models:
        model.eval()
    for batch in split.in_order(evaluation_batch(split)):
        before_batch()
        images = splits.normalized(batch.images)
        for slot, model in enumerate(models):
            with autocast(splits.device, precision):
                logits = model(images)
                losses[slot].append(F.cross_entropy(logits, batch.labels, reduction="none"))
            errors[slot].append(logits.argmax(1) != batch.labels)
    for model, mode in zip(models, modes, strict=True):
        model.train(mode)
    return [
        Outcomes(torch.cat(loss).double().cpu(), torch.cat(error).double().cpu())
        for loss, error in zip(losses, errors, strict=True)
    ]


def evaluate_share(
    model: nn.Module,
    splits: Splits,
    split: Split,
    precision: Precision,
    member: Member = ALONE,
    before_batch: Callable[[], None] = lambda: None,
) -> tuple[float, float]:
    """Mean cross-entropy in nats and error in percent on a split, of which every rank of a gang evaluates its part."""
    part = split if member.alone else split.part(member.share(len(split)))
    sums = torch.zeros(2, dtype=torch.float64)
    if len(part):
        (outcomes,) = evaluate([model], splits, part, precision, before_batch)
        sums = torch.stack((outcomes.loss_nats.sum(), outcomes.error.sum()))
    loss, wrong = (member.sum_(sums.to(splits.device)) / len(split)).tolist()
    return loss, 100 * wrong


def evaluation_batch(split: Split) -> int:
    """Images in a batch: as many as keep its size in pixels, within limits."""
    return min(1000, max(EVALUATION_PIXELS // (split.height * split.width), 50))


@dataclass(frozen=True)
class Reestimation:
    """How batch-norm statistics are estimated anew from augmented training images.

    Attributes:
        images: how many; None takes the whole training split. The same seed draws the same images.
        momentum: None resets and averages cumulatively; a number is one pass of that moving average, which
            remembers about the last 2 / momentum batches only (the released code: 0.1).
    """

    images: int | None
    batch_size: int
    momentum: float | None
    augmentation: Augmentation
    draw_seed: int


@torch.no_grad()
def reestimate_statistics(
    models: Sequence[nn.Module],
    splits: Splits,
    how: Reestimation,
    precision: Precision = "float32",
    before_batch: Callable[[], None] = lambda: None,
) -> None:
    """Replace the running statistics of batch norm, in place, in every model.

    Each batch is loaded once and serves every model, so that all see the same images. A model without batch norm is
    left as it is.
    """
    models = [model for model in models if any(isinstance(module, BATCH_NORM) for module in model.modules())]
    if not models:
        return
    norms = [module for model in models for module in model.modules() if isinstance(module, BATCH_NORM)]
    own = [norm.momentum for norm in norms]
    if how.momentum is None:
        for norm in norms:
            norm.reset_running_stats()
    modes = [model.training for model in models]
    for model in models:
        model.eval()  # dropout and drop-connect would add noise to the statistics and draw from the global generator
    for norm in norms:
        norm.train()
    total = len(splits.train)
    draws = draw_epoch(total, how.draw_seed, 0, how.augmentation)[: how.images or total]
    for number, batch in enumerate(splits.train.drawn(draws, how.batch_size, how.augmentation), 1):
        before_batch()
        if len(batch.labels) < 2:  # a batch of one has no variance
            continue
        for norm in norms:
            # 1 / n is the cumulative average; momentum=None is the same and reads a counter off the device
            norm.momentum = how.momentum or 1 / number
        images = splits.normalized(batch.images)
        for model in models:
            with autocast(splits.device, precision):
                model(images)
    for model, mode in zip(models, modes, strict=True):
        model.train(mode)
    for norm, value in zip(norms, own, strict=True):
        norm.momentum = value
