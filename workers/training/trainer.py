"""The trainer: every training of the method, dense or masked, with interpolated or plain psi."""

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
from workers.devices.randomness import device_draws, exclusive_generators_if_drawn
from workers.devices.seeds import derive, generator
from workers.pruning.masking import Masking
from workers.stages import Alpha, Training, learning_rate
from workers.stages.execution import Control, Interrupted
from workers.storage.artifacts import masks_digest, state_digest
from workers.training.capture import CapturedStep, StepFunction
from workers.training.checkpoint import Position, Snapshot, newest_checkpoint, save_checkpoint
from workers.training.evaluation import evaluate_share
from workers.training.gang.batch_norm import with_gang_norm
from workers.training.gang.member import ALONE, GangSizeError, Member
from workers.training.gang.reduction import Reduction
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
        timing: a row per epoch: epoch, seconds, images_per_second. Separate, because it differs between equal runs.
    """

    metrics: list[dict[str, Any]] = field(default_factory=list)
    timing: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self, epoch: int, split: str, loss_nats: float, accuracy_percent: float, images: int, learning_rate: float
    ) -> None:
        """Add the metrics of a split after an epoch."""
        self.metrics.append(
            {
                "epoch": epoch,
                "split": split,
                "loss_nats": loss_nats,
                "accuracy_percent": accuracy_percent,
                "images": images,
                "learning_rate": learning_rate,
            }
        )

    def add_to_last_epoch(self, split: str, loss_nats: float, accuracy_percent: float, images: int) -> None:
        """Add the metrics of one more split after the last logged epoch."""
        last = self.metrics[-1]
        self.add(last["epoch"], split, loss_nats, accuracy_percent, images, last["learning_rate"])


def train(
    model: nn.Module,
    training: Training,
    splits: Splits,
    *,
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
        masks: boolean masks of prunable weights; pruned weights are zero before the first and after every step.
        alpha: for AWS, the distribution from which each batch draws one alpha, which interpolates psi in all
            normalization layers. None leaves psi as it is.
        sgd_seed: draws batch order, augmentation, alphas and dropout; nothing else is random.
        watched: splits to evaluate after each epoch, by name.
        cuda_graphs: on a GPU, replay each step as a CUDA graph, with the same numbers. This needs a stream that only
            the caller uses (``workers.devices.streams.exclusive_stream``); on the default stream, steps run eagerly,
            with a warning.
        deterministic: whether torch uses deterministic kernels only.
        member: this process's place in the training's gang; all ranks call this function alike. Gangs step eagerly.

    Raises:
        DivergedError: the loss is infinite or NaN.
        GangSizeError: the training is for another number of ranks.
        RanksDisagreeError: masks, start or end differ between ranks.
        Interrupted: the control asked to stop; a checkpoint was written, from which the same call resumes.
    """
    if member.ranks != training.gang.ranks:
        raise GangSizeError(
            f"this training is for a gang of {training.gang.ranks} processes and was started in {member.ranks}; use "
            f"python -m torch.distributed.run --nproc-per-node {training.gang.ranks} -m workers.run …"
        )
    model.train()
    member.check_equal("the mask", lambda: masks_digest(masks))
    with exclusive_generators_if_drawn(model, splits.blank(2)) as draws:
        optimizer = make_optimizer(model, training.optimizer)
        masking = Masking(model, masks)
        masking.mask_weights_()
        network, reduction = model, None
        if not member.alone:
            network = with_gang_norm(model, member, training.gang.batch_norm)
            reduction = Reduction(model, member, training.gang.batch_norm)
        interpolation = PsiInterpolation(network) if alpha else None
        step = Step(network, optimizer, masking, interpolation, splits, compiled=training.compiled, reduction=reduction)
        state = TrainingState(model, optimizer, step.sums, generators=draws.any and member.alone)
        take_step: StepFunction = step
        # a graph would replay the same CPU draws in every step, and cannot hold the exchanges of a gang's hosts
        if cuda_graphs and splits.device.type == "cuda" and not draws.cpu and member.alone:
            take_step = CapturedStep(step, state, exact=deterministic)
        if draws.gpu:
            take_step = _without_captures(take_step)
        trainer = _Trainer(state, take_step, training, splits, alpha, sgd_seed, control, member)
        return trainer.run(watched, seeded_steps=draws.any and not member.alone)


def _without_captures(step: StepFunction) -> StepFunction:
    """The step, run while no other thread captures a graph."""

    def take_step(images: Tensor, labels: Tensor, alpha: Tensor) -> None:
        with device_draws():
            step(images, labels, alpha)

    return take_step


class _Trainer:
    """Runs the epochs of one training: steps, evaluation, log, checkpoints."""

    def __init__(
        self,
        state: TrainingState,
        take_step: StepFunction,
        training: Training,
        splits: Splits,
        alpha: Alpha | None,
        sgd_seed: int,
        control: Control,
        member: Member,
    ) -> None:
        self._member, self._seeded_steps = member, False
        self._state, self._take_step = state, take_step
        self._training, self._splits = training, splits
        self._alpha, self._sgd_seed, self._control = alpha, sgd_seed, control
        self._log = TrainingLog()

    def run(self, watched: Mapping[str, Split], *, seeded_steps: bool) -> TrainingLog:
        """Train to the end.

        Args:
            seeded_steps: seed the global generators before every step by position and rank, as a gang with dropout
                needs: its ranks draw differently, and a checkpoint, written by one rank, lacks the others' states.
        """
        self._seeded_steps = seeded_steps
        start = self._resume()
        if not self._member.alone:
            hosts = self._member.all_gather_text(f"pid {os.getpid()} on {socket.gethostname()}")
            log.info("trained by %s", "; ".join(hosts))
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
        """Train from batch number ``first`` to the epoch's end; return the number of images."""
        training, train = self._training, self._splits.train
        draws = draw_epoch(len(train), self._sgd_seed, epoch, training.augmentation)
        alphas = self._draw_alphas(epoch)
        if first == 0:
            self._state.seed_generators(derive(self._sgd_seed, "dropout", epoch))
            self._state.sums.zero_()
        set_learning_rate(self._state.optimizer, learning_rate(training, epoch))
        loaded = drawn_share(self._splits, draws, training.batch_size, training.augmentation, first, self._member)
        for index, batch in enumerate(loaded, first):
            self._control.beat()
            if self._member.broadcast(self._control.should_stop()):
                self._checkpoint(Position(epoch, index))
                raise Interrupted
            if self._control.checkpoint_due():
                self._checkpoint(Position(epoch, index))
            if self._seeded_steps:
                torch.manual_seed(derive(self._sgd_seed, "dropout", epoch, index, "rank", self._member.rank))
            self._take_step(batch.images, batch.labels, alphas[index])
        return len(train) - first * training.batch_size

    def _draw_alphas(self, epoch: int) -> Tensor:
        """The alpha of each batch of an epoch, float32 (batches,) on the device; zeros without interpolation."""
        batches = -(-len(self._splits.train) // self._training.batch_size)
        if self._alpha is None:
            return torch.zeros(batches, device=self._splits.device)
        return draw_alphas(self._alpha, batches, generator(self._sgd_seed, "alpha", epoch)).to(self._splits.device)

    def _log_epoch(self, epoch: int, watched: Mapping[str, Split]) -> None:
        images, rate = len(self._splits.train), learning_rate(self._training, epoch)
        loss, correct = (self._state.sums / images).tolist()  # the epoch's only synchronisation with the device
        if not math.isfinite(loss):
            raise DivergedError(_diverged("the training loss", str(loss), epoch, rate))
        self._log.add(epoch + 1, "train", loss, 100 * correct, images, rate)
        for name, split in watched.items():
            loss, error = evaluate_share(self._state.model, self._splits, split, self._member, self._control.beat)
            self._log.add(epoch + 1, name, loss, 100 - error, len(split), rate)

    def _resume(self) -> Position:
        """Restore the newest checkpoint, if there is one; return the position to train from."""
        snapshot = newest_checkpoint(self._control.checkpoint_folders)
        if snapshot is None:
            return Position(self._training.first_epoch, 0)
        self._state.unpack(snapshot.tensors)
        self._log = TrainingLog(**snapshot.log)
        return snapshot.position

    def _checkpoint(self, position: Position) -> None:
        if self._control.checkpoints is None or not self._member.is_leader:
            return
        if not self._state.finite():  # every attempt that resumed from such a checkpoint would fail too
            rate = learning_rate(self._training, position.epoch)
            raise DivergedError(_diverged("a weight or the training loss", "infinite or NaN", position.epoch, rate))
        save_checkpoint(self._control.checkpoints, Snapshot(position, self._state.packed(), vars(self._log)))
        self._control.checkpointed(self._control.checkpoints)


def _diverged(what: str, value: str, epoch: int, rate: float) -> str:
    return (
        f"{what} is {value} in epoch {epoch + 1} at learning rate {rate}; lower it with --set optimizer.learning_rate=…"
    )
