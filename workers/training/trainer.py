"""The trainer: every training of the method, dense or masked, with psi interpolated or not."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from workers.data.augmentation import draw_epoch
from workers.data.batches import Split
from workers.data.splits import Splits
from workers.devices.randomness import device_draws, own_generators_if_drawn
from workers.devices.seeds import derive, generator
from workers.pruning.masking import Masking
from workers.stages import Alpha, Precision, Training, learning_rate
from workers.stages.execution import Control, Interrupted
from workers.storage.artifacts import masks_digest, state_digest
from workers.training.capture import CapturedStep, StepFunction
from workers.training.checkpoint import Position, Snapshot, newest_checkpoint, save_checkpoint
from workers.training.evaluation import evaluate_share
from workers.training.gang.batch_norm import with_gang_norm
from workers.training.gang.member import ALONE, GangSizeError, Member
from workers.training.gang.reduction import Exchange
from workers.training.gang.sharding import drawn_share
from workers.training.psi import PsiInterpolation, draw_alphas
from workers.training.state import TrainingState
from workers.training.step import Step, make_optimizer, set_learning_rate

log = logging.getLogger("winning_sign")


class DivergedError(ArithmeticError):
    """The training loss or a weight became infinite or NaN."""


@dataclass
class TrainingLog:
    """What a training measured.

    Attributes:
        metrics: a row per epoch and split: epoch (from 1), split, loss_nats, accuracy_percent, images, learning_rate.
        timing: a row per epoch: epoch, seconds, images_per_second. Kept apart: it differs between equal runs.
    """

    metrics: list[dict[str, Any]] = field(default_factory=list)
    timing: list[dict[str, Any]] = field(default_factory=list)


def train(
    model: nn.Module,
    training: Training,
    splits: Splits,
    *,
    precision: Precision = "float32",
    masks: Mapping[str, Tensor],
    alpha: Alpha | None = None,
    sgd_seed: int,
    watched: Mapping[str, Split],
    control: Control,
    cuda_graphs: bool = True,
    deterministic: bool = True,
    member: Member = ALONE,
) -> TrainingLog:
    """Train a network in place, with a new optimizer.

    Args:
        masks: boolean masks of prunable weights; a pruned weight is zero before the first and after every step.
        alpha: AWS's distribution: each batch draws one alpha, which interpolates psi in all normalization layers. None
            leaves psi as it is.
        sgd_seed: draws batch order, augmentation, alphas and dropout; nothing else is random.
        watched: splits to evaluate after each epoch, by name.
        cuda_graphs: on a GPU, replay each step as a CUDA graph; the numbers are the same. That needs a stream of the
            caller's own (``workers.devices.streams.own_stream``); on the default stream, steps run
            eagerly with a warning.
        deterministic: whether torch was told to use deterministic kernels only.
        member: this process's place in the training's gang; all ranks call this alike. A gang steps eagerly.

    Raises:
        DivergedError: the loss is no longer finite.
        GangSizeError: the training is for another number of ranks.
        RanksDisagreeError: masks, start or end are not the same on all ranks.
        Interrupted: the control asked to stop; a checkpoint was written, from which the same call goes on.
    """
    if member.ranks != training.gang.ranks:
        raise GangSizeError(
            f"this training is for a gang of {training.gang.ranks} processes and was started in {member.ranks}; use "
            f"python -m torch.distributed.run --nproc-per-node {training.gang.ranks} -m workers.run …"
        )
    model.train()
    member.check_equal("the mask", lambda: masks_digest(masks))
    with own_generators_if_drawn(model, splits.blank(2)) as draws:
        optimizer = make_optimizer(model, training.optimizer)
        masking = Masking(model, masks)
        masking.mask_weights_()
        seen, exchange = model, None
        if not member.alone:
            seen = with_gang_norm(model, member, training.gang.batch_norm)
            exchange = Exchange(model, member, training.gang.batch_norm)
        interpolation = PsiInterpolation(seen) if alpha else None
        step = Step(
            seen, optimizer, masking, interpolation, splits, precision, compiled=training.compiled, exchange=exchange
        )
        state = TrainingState(model, optimizer, step.sums, generators=draws.any and member.alone)
        take_step: StepFunction = step
        # what the CPU draws would be the same in every replay, and what the hosts of a gang say is in no graph
        if cuda_graphs and splits.device.type == "cuda" and not draws.cpu and member.alone:
            take_step = CapturedStep(step, state, exact=deterministic)
        if draws.gpu:
            take_step = _undisturbed(take_step)
        trainer = _Trainer(state, take_step, training, splits, precision, alpha, sgd_seed, control, member)
        return trainer.run(watched, seeded_steps=draws.any and not member.alone)


def _undisturbed(step: StepFunction) -> StepFunction:
    """The step, while no other thread captures."""

    def take_step(images: Tensor, labels: Tensor, alpha: Tensor) -> None:
        with device_draws():
            step(images, labels, alpha)

    return take_step


class _Trainer:
    """A training under way."""

    def __init__(
        self,
        state: TrainingState,
        take_step: StepFunction,
        training: Training,
        splits: Splits,
        precision: Precision,
        alpha: Alpha | None,
        sgd_seed: int,
        control: Control,
        member: Member,
    ) -> None:
        self._member, self._seeded_steps = member, False
        self._state, self._take_step = state, take_step
        self._training, self._splits, self._precision = training, splits, precision
        self._alpha, self._sgd_seed, self._control = alpha, sgd_seed, control
        self._log = TrainingLog()

    def run(self, watched: Mapping[str, Split], *, seeded_steps: bool) -> TrainingLog:
        """Train to the end.

        Args:
            seeded_steps: seed the global generators in every step by position and rank, as a gang with dropout does:
                its ranks draw differently, and a checkpoint, which is one rank's, need not hold the others' states.
        """
        self._seeded_steps = seeded_steps
        start = self._resume()
        if not self._member.alone:
            log.info("trained by %s", "; ".join(self._member.texts(f"pid {os.getpid()} on {socket.gethostname()}")))
        self._check_state(f"the start at epoch {start.epoch}, batch {start.batch},")
        span = self._training.span
        for epoch in range(start.epoch, span.stop):
            began, first = time.perf_counter(), start.batch if epoch == start.epoch else 0
            images = self._run_epoch(epoch, first)
            self._log_epoch(epoch, watched)
            seconds = time.perf_counter() - began
            self._log.timing.append({"epoch": epoch + 1, "seconds": seconds, "images_per_second": images / seconds})
            self._control.report(
                {
                    "epoch": epoch + 1,
                    "epochs": span.stop,
                    "accuracy_percent": self._log.metrics[-1]["accuracy_percent"],
                }
            )
            if epoch + 1 < span.stop and self._control.checkpoint_due(epoch_ended=True):
                self._checkpoint(Position(epoch + 1, 0))
        self._check_state("the trained network")
        return self._log

    def _check_state(self, what: str) -> None:
        self._member.check_equal(what, lambda: what[:64] + state_digest(self._state.tensors()))

    def _run_epoch(self, epoch: int, first: int) -> int:
        """Train from batch number ``first`` to the epoch's end; how many images that were."""
        training, train = self._training, self._splits.train
        draws = draw_epoch(len(train), self._sgd_seed, epoch, training.augmentation)
        batches = -(-len(train) // training.batch_size)
        alphas = torch.zeros(batches)
        if self._alpha:
            alphas = draw_alphas(self._alpha, batches, generator(self._sgd_seed, "alpha", epoch))
        alphas = alphas.to(self._splits.device)
        if first == 0:
            self._state.seed_generators(derive(self._sgd_seed, "dropout", epoch))
            self._state.sums.zero_()
        set_learning_rate(self._state.optimizer, learning_rate(training, epoch))
        loaded = drawn_share(self._splits, draws, training.batch_size, training.augmentation, first, self._member)
        for index, batch in enumerate(loaded, first):
            self._control.beat()
            if self._member.decided(self._control.should_stop()):
                self._checkpoint(Position(epoch, index))
                raise Interrupted
            if self._control.checkpoint_due():
                self._checkpoint(Position(epoch, index))
            if self._seeded_steps:
                torch.manual_seed(derive(self._sgd_seed, "dropout", epoch, index, "rank", self._member.rank))
            self._take_step(batch.images, batch.labels, alphas[index])
        return len(train) - first * training.batch_size

    def _log_epoch(self, epoch: int, watched: Mapping[str, Split]) -> None:
        images, rate = len(self._splits.train), learning_rate(self._training, epoch)
        loss, right = (self._state.sums / images).tolist()  # the epoch's only synchronisation with the device
        if not math.isfinite(loss):
            raise DivergedError(_diverged("the training loss", str(loss), epoch, rate))
        self._log.metrics.append(metrics_row(epoch + 1, "train", loss, 100 * right, images, rate))
        for name, split in watched.items():
            beat = self._control.beat
            loss, error = evaluate_share(self._state.model, self._splits, split, self._precision, self._member, beat)
            self._log.metrics.append(metrics_row(epoch + 1, name, loss, 100 - error, len(split), rate))

    def _resume(self) -> Position:
        control = self._control
        found = newest_checkpoint([*control.earlier, *([control.checkpoints] if control.checkpoints else [])])
        if found is None:
            return Position(self._training.first_epoch, 0)
        self._state.unpack(found.tensors)
        self._log = TrainingLog(**found.log)
        return found.position

    def _checkpoint(self, position: Position) -> None:
        if self._control.checkpoints is not None and self._member.leads:
            if not self._state.finite():  # a checkpoint of that would fail every later try as well
                rate = learning_rate(self._training, position.epoch)
                raise DivergedError(_diverged("a weight or the training loss", "infinite or NaN", position.epoch, rate))
            save_checkpoint(self._control.checkpoints, Snapshot(position, self._state.packed(), vars(self._log)))
            self._control.checkpointed(self._control.checkpoints)


def _diverged(what: str, value: str, epoch: int, rate: float) -> str:
    return (
        f"{what} is {value} in epoch {epoch + 1} at learning rate {rate}; lower it with --set optimizer.learning_rate=…"
    )


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
