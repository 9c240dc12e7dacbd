"""Loss and error of a network on a split, and re-estimation of its batch-norm statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tickets.roles import BATCH_NORM
from workers.data.augmentation import draw_epoch
from workers.data.batches import Split
from workers.data.splits import Splits
from workers.stages import Augmentation
from workers.training.gang.member import ALONE, Member

EVALUATION_PIXELS = 1_024_000


@dataclass(frozen=True)
class Outcomes:
    """Per image of a split, float64: the cross-entropy in nats, and the error, 1 for a wrong answer and 0 otherwise."""

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
    models: Sequence[nn.Module], splits: Splits, split: Split, beat: Callable[[], None] = lambda: None
) -> list[Outcomes]:
    """Evaluate models on every image of a split, in evaluation mode and with their own psi (alpha = 0).

    Each batch is loaded once and serves all models.

    Args:
        beat: called before every batch; it may raise to end the evaluation.
    """
    losses: list[list[Tensor]] = [[] for _ in models]
    errors: list[list[Tensor]] = [[] for _ in models]
    with _evaluation_mode(models):
        for batch in split.in_order(evaluation_batch(split)):
            beat()
            images = splits.normalized(batch.images)
            for slot, model in enumerate(models):
                with splits.autocast():
                    logits = model(images)
                    losses[slot].append(F.cross_entropy(logits, batch.labels, reduction="none"))
                errors[slot].append(logits.argmax(1) != batch.labels)
    return [
        Outcomes(torch.cat(loss).double().cpu(), torch.cat(error).double().cpu())
        for loss, error in zip(losses, errors, strict=True)
    ]


def evaluate_share(
    model: nn.Module, splits: Splits, split: Split, member: Member = ALONE, beat: Callable[[], None] = lambda: None
) -> tuple[float, float]:
    """Mean cross-entropy in nats and error in percent on a split; each rank of a gang evaluates its share of it."""
    part = split if member.alone else split.part(member.share(len(split)))
    sums = torch.zeros(2, dtype=torch.float64)
    if len(part):
        (outcomes,) = evaluate([model], splits, part, beat)
        sums = torch.stack((outcomes.loss_nats.sum(), outcomes.error.sum()))
    loss, wrong = (member.sum_(sums.to(splits.device)) / len(split)).tolist()
    return loss, 100 * wrong


def evaluation_batch(split: Split) -> int:
    """Number of images per batch: between 50 and 1000, and about ``EVALUATION_PIXELS`` pixels in between."""
    return min(1000, max(EVALUATION_PIXELS // math.prod(split.size), 50))


def training_images(
    splits: Splits, images: int, seed: int, beat: Callable[[], None] = lambda: None
) -> Iterator[Tensor]:
    """Draw training images, not augmented, as networks see them: float32 (batch, channels, height, width).

    Args:
        images: number of images; the whole training split if it has no more.
        beat: called before every batch; it may raise to end the reading.
    """
    draws = draw_epoch(len(splits.train), seed, 0, "none")[:images]
    for batch in splits.train.drawn(draws, evaluation_batch(splits.train), "none"):
        beat()
        yield splits.normalized(batch.images)


@dataclass(frozen=True)
class Reestimation:
    """How to re-estimate batch-norm statistics from augmented training images.

    Attributes:
        images: number of images; None takes the whole training split.
        momentum: None resets the statistics and averages cumulatively. A number makes one pass of that moving
            average, which remembers about the last 2 / momentum batches only (the released code: 0.1).
        draw_seed: the same seed draws the same images.
        reset: start a pass with a momentum from mean 0 and variance 1, as a fresh network has them. Statistics that
            stay keep the weight (1 - momentum) ** batches.
    """

    images: int | None
    batch_size: int
    momentum: float | None
    augmentation: Augmentation
    draw_seed: int
    reset: bool = False


@torch.no_grad()
def reestimate_statistics(
    models: Sequence[nn.Module], splits: Splits, how: Reestimation, beat: Callable[[], None] = lambda: None
) -> None:
    """Replace the running statistics of batch norm in every model, in place; models without batch norm are unchanged.

    Each batch is loaded once and serves all models, so that all see the same images.

    Args:
        beat: called before every batch; it may raise to end the re-estimation.
    """
    models = [model for model in models if any(isinstance(module, BATCH_NORM) for module in model.modules())]
    if not models:
        return
    norms = [module for model in models for module in model.modules() if isinstance(module, BATCH_NORM)]
    momenta = [norm.momentum for norm in norms]
    if how.reset or how.momentum is None:
        for norm in norms:
            norm.reset_running_stats()
    total = len(splits.train)
    draws = draw_epoch(total, how.draw_seed, 0, how.augmentation)[: how.images or total]
    # dropout and drop-connect would add noise to the statistics and draw from the global generator
    with _evaluation_mode(models):
        for norm in norms:
            norm.train()
        for number, batch in enumerate(splits.train.drawn(draws, how.batch_size, how.augmentation), 1):
            beat()
            if len(batch.labels) < 2:  # a batch of one has no variance
                continue
            for norm in norms:
                # 1 / n is the cumulative average; momentum=None gives the same but reads a counter off the device
                norm.momentum = how.momentum or 1 / number
            images = splits.normalized(batch.images)
            for model in models:
                with splits.autocast():
                    model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


@contextmanager
def _evaluation_mode(models: Sequence[nn.Module]) -> Iterator[None]:
    """Put models into evaluation mode, and back into their modes at the end of the block."""
    modes = [model.training for model in models]
    for model in models:
        model.eval()
    try:
        yield
    finally:
        for model, mode in zip(models, modes, strict=True):
            model.train(mode)
