"""The trainer: every training of the method, dense or masked, with psi interpolated or not."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.checkpoint import Position, Snapshot, newest_checkpoint, pack_state, save_checkpoint, unpack_state
from workers.data.batches import Split, Splits, augmented, draw_epoch
from workers.evaluation import evaluate
from workers.execution import Control, Interrupted
from workers.masking import Masking
from workers.normalization import PsiInterpolation
from workers.seeds import derive, generator
from workers.stages import Optimizer, Training


class DivergedError(ArithmeticError):
    """The training loss became infinite or NaN."""


@dataclass
class TrainingLog:
    """What a training measured.

    Attributes:
        metrics: a row per epoch and split: epoch (from 1), split, loss_nats, accuracy_percent, images, learning_rate.
        timing: a row per epoch: epoch, seconds, images_per_second. Kept apart: it differs between equal runs.
    """

    metrics: list[dict[str, Any]] = field(default_factory=list)
    timing: list[dict[str, Any]] = field(default_factory=list)


def learning_rate(training: Training, epoch: int) -> float:
    """Learning rate in an epoch, counted from 0; it is stepped once per epoch."""
    full, schedule = training.optimizer.learning_rate, training.schedule
    if schedule.name == "steps":
        return full * schedule.factor ** sum(epoch >= milestone for milestone in schedule.milestones)
    if schedule.name == "cosine":
        low = full * schedule.factor
        return low + (full - low) * (1 + math.cos(math.pi * epoch / training.epochs)) / 2
    return full


def make_optimizer(model: nn.Module, spec: Optimizer) -> torch.optim.Optimizer:
    """A new optimizer over all parameters; weight decay is L2 in the gradient for both kinds."""
    if spec.name == "adam":
        return torch.optim.Adam(model.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True)
    return torch.optim.SGD(
        model.parameters(),
        lr=spec.learning_rate,
        momentum=spec.momentum,
        weight_decay=spec.weight_decay,
        fused=True,
    )


def train(
    model: nn.Module,
    training: Training,
    splits: Splits,
    *,
    masks: Mapping[str, Tensor],
    interpolate_psi: bool,
    sgd_seed: int,
    watched: Mapping[str, Split],
    control: Control,
) -> TrainingLog:
    """Train a network in place, with a new optimizer.

    Args:
        masks: boolean masks of prunable weights; a pruned weight is zero before the first and after every step.
        interpolate_psi: AWS; one alpha ~ U(0, 1) per batch for all normalization layers, in training only.
        sgd_seed: draws batch order, augmentation, alphas and dropout; nothing else is random.
        watched: splits to evaluate after each epoch, by name.

    Raises:
        DivergedError: the loss is no longer finite.
        Interrupted: the control asked to stop; a checkpoint was written, from which the same call goes on.
    """
    device = splits.train.device
    optimizer = make_optimizer(model, training.optimizer)
    masking = Masking(model, masks)
    masking.mask_weights_()
    interpolation = PsiInterpolation(model) if interpolate_psi else None
    log = TrainingLog()
    sums = torch.zeros(2, dtype=torch.float64, device=device)  # of the loss and of the right answers, this epoch

    start = Position(0, 0)
    resumed = newest_checkpoint([*control.earlier, *([control.checkpoints] if control.checkpoints else [])])
    if resumed is not None:
        unpack_state(resumed.tensors, model, optimizer, sums)
        start, log = resumed.position, TrainingLog(**resumed.log)

    def checkpoint(position: Position) -> None:
        if control.checkpoints is not None:
            state = pack_state(model, optimizer, sums)
            save_checkpoint(control.checkpoints, Snapshot(position, state, vars(log)))

    model.train()
    for epoch in range(start.epoch, training.epochs):
        began, first = time.perf_counter(), start.batch if epoch == start.epoch else 0
        draws = draw_epoch(len(splits.train), sgd_seed, epoch, device)
        batches = list(draws.batches(training.batch_size))
        alphas = torch.rand(len(batches), generator=generator(sgd_seed, "alpha", epoch)).to(device)
        if first == 0:
            torch.manual_seed(derive(sgd_seed, "dropout", epoch))
            sums.zero_()
        rate = learning_rate(training, epoch)
        for group in optimizer.param_groups:
            group["lr"] = rate

        for index in range(first, len(batches)):
            if control.should_stop():
                checkpoint(Position(epoch, index))
                raise Interrupted
            if control.checkpoint_due():
                checkpoint(Position(epoch, index))
            batch = batches[index]
            images = splits.normalized(augmented(splits.train, batch, training.augmentation))
            labels = splits.train.labels[batch.order]
            logits = model(images) if interpolation is None else interpolation(images, alphas[index])
            loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            masking.mask_gradients_()
            optimizer.step()
            masking.mask_weights_()
            sums += torch.stack((loss.detach() * len(labels), (logits.argmax(1) == labels).sum()))

        _log_epoch(log, epoch, rate, sums, splits, model, watched)
        seconds = time.perf_counter() - began
        done = (len(batches) - first) / len(batches) * len(splits.train)
        log.timing.append({"epoch": epoch + 1, "seconds": seconds, "images_per_second": done / seconds})
        control.report(
            {
                "epoch": epoch + 1,
                "epochs": training.epochs,
                "accuracy_percent": log.metrics[-1]["accuracy_percent"],
            }
        )
    return log


def _log_epoch(
    log: TrainingLog,
    epoch: int,
    rate: float,
    sums: Tensor,
    splits: Splits,
    model: nn.Module,
    watched: Mapping[str, Split],
) -> None:
    loss, right = (sums / len(splits.train)).tolist()  # the epoch's only synchronisation with the device
    if not math.isfinite(loss):
        raise DivergedError(
            f"the training loss is {loss} in epoch {epoch + 1} at learning rate {rate}; lower it with "
            f"--set optimizer.learning_rate=…"
        )
    log.metrics.append(metrics_row(epoch + 1, "train", loss, 100 * right, len(splits.train), rate))
    for name, split in watched.items():
        outcomes = evaluate(model, splits, split)
        accuracy = 100 - outcomes.error_percent
        log.metrics.append(metrics_row(epoch + 1, name, outcomes.mean_loss_nats, accuracy, len(split), rate))


def metrics_row(
    epoch: int, split: str, loss_nats: float, accuracy_percent: float, images: int, rate: float
) -> dict[str, Any]:
    """One row of ``metrics.parquet``."""
    return {
        "epoch": epoch,
        "split": split,
        "loss_nats": loss_nats,
        "accuracy_percent": accuracy_percent,
        "images": images,
        "learning_rate": rate,
    }
