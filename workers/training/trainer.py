"""The trainer: every training of the method, dense or masked, with interpolated or plain psi."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor, nn

from tickets.roles import Role
from workers.data.augmentation import Draws, draw_epoch
from workers.data.batches import Batch, Split
from workers.data.splits import Splits
from workers.devices.randomness import device_draws, exclusive_generators_if_drawn
from workers.devices.seeds import derive, generator
from workers.pruning.masking import Masking
from workers.stages import Alpha, Training, learning_rate
from workers.stages.execution import Control, Interrupted, StageError
from workers.storage.artifacts import masks_digest, state_digest
from workers.storage.schemas import METRICS_SCHEMA, SIGNS_SCHEMA, TIMING_SCHEMA
from workers.training.capture import CapturedStep, StepFunction
from workers.training.checkpoint import Position, Snapshot, newest_checkpoint, save_checkpoint
from workers.training.evaluation import evaluate_share
from workers.training.gang.batch_norm import with_gang_norm
from workers.training.gang.member import ALONE, GangSizeError, Member, Reduction
from workers.training.psi import PsiInterpolation, draw_alphas
from workers.training.rules.active import ActiveRules
from workers.training.signs import SignRecorder
from workers.training.step import Step, TrainingState, make_optimizer, set_learning_rate

log = logging.getLogger("winning_sign")


class DivergedError(StageError):
    """The training loss or a weight became infinite or NaN."""


@dataclass
class TrainingLog:
    """What a training measured.

    Attributes:
        metrics: a row per epoch and split: epoch (from 1), split, loss_nats, accuracy_percent, images, learning_rate.
        timing: a row per epoch: epoch, seconds, images_per_second. Separate, because it differs between equal runs.
        signs: after the training, a row per record and parameter (``workers.training.signs``).
    """

    metrics: list[dict[str, Any]] = field(default_factory=list)
    timing: list[dict[str, Any]] = field(default_factory=list)
    signs: list[dict[str, Any]] = field(default_factory=list)

    def add(self, *row: float | str) -> None:
        """Add a row of ``metrics``: its values, in order."""
        self.metrics.append(dict(zip(METRICS_SCHEMA.names, row, strict=True)))

    def add_to_last_epoch(self, split: str, loss_nats: float, accuracy_percent: float, images: int) -> None:
        """Add the metrics of one more split after the last logged epoch; after epoch 0 if nothing was trained."""
        last = self.metrics[-1] if self.metrics else {"epoch": 0, "learning_rate": 0.0}
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
    roles: Mapping[str, Role] = MappingProxyType({}),
) -> TrainingLog:
    """Train a network in place, with a new optimizer.

    Args:
        masks: boolean masks of prunable weights; pruned weights are zero before the first and after every step. A
            mask rule changes them in place.
        alpha: for AWS, the distribution from which each batch draws one alpha, which interpolates psi in all
            normalization layers. None leaves psi as it is.
        sgd_seed: draws batch order, augmentation, alphas and dropout; nothing else is random.
        watched: splits to evaluate after each epoch, by name.
        cuda_graphs: on a GPU, replay each step as a CUDA graph, with the same numbers. This needs a stream that only
            the caller uses (``workers.devices.streams.exclusive_stream``); on the default stream, steps run eagerly,
            with a warning.
        deterministic: whether torch uses deterministic kernels only.
        member: this process's place in the training's gang; all ranks call this function alike. Gangs step eagerly.
        roles: role of each parameter by name, for a reparametrisation or a regulariser.

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
    with exclusive_generators_if_drawn(model, splits.blank(2), control.beat_or_stop) as draws:
        masking = Masking(model, masks)
        masking.mask_weights_()
        rules = ActiveRules(training, model, roles, masks, images=len(splits.train), seed=sgd_seed)
        optimizer = make_optimizer(model, training.optimizer, rules.factors)
        network, reduction = model, None
        if not member.alone:
            network = with_gang_norm(model, member, training.gang.batch_norm)
            reduction = Reduction(model, member, training.gang.batch_norm)
        interpolation = PsiInterpolation(network) if alpha else None
        step = Step(
            network,
            optimizer,
            masking,
            interpolation,
            splits,
            compiled=training.compiled,
            reduction=reduction,
            penalty=rules.penalty,
            factors=rules.factors,
        )
        rules.begin(masking, optimizer, device_draws()(step.differentiate) if draws.gpu else step.differentiate)
        generators = draws.any and member.alone
        state = TrainingState(model, optimizer, step.sums, generators=generators, more=rules.tensors())
        take_step: StepFunction = step
        # a graph would replay the same CPU draws in every step, and cannot hold the exchanges of a gang's hosts
        if cuda_graphs and splits.device.type == "cuda" and not draws.cpu and member.alone:
            take_step = CapturedStep(step, state, exact=deterministic)
        if draws.gpu:
            take_step = device_draws()(take_step)  # runs while no other thread captures a graph
        seeded_steps = draws.any and not member.alone
        batches = -(-len(splits.train) // training.batch_size)
        signs = SignRecorder(model, masks, training.span, batches, rules.current_masks)
        trainer = _Trainer(
            state, take_step, rules, training, splits, alpha, sgd_seed, control, member, seeded_steps, signs
        )
        return trainer.run(watched)


@dataclass
class _Trainer:
    """Runs the epochs of one training: steps, evaluation, log, checkpoints.

    Attributes:
        seeded_steps: seed the global generators before every step by position and rank, as a gang with dropout needs:
            its ranks draw differently, and a checkpoint, written by one rank, lacks the others' states.
    """

    state: TrainingState
    take_step: StepFunction
    rules: ActiveRules
    training: Training
    splits: Splits
    alpha: Alpha | None
    sgd_seed: int
    control: Control
    member: Member
    seeded_steps: bool
    signs: SignRecorder
    log: TrainingLog = field(default_factory=TrainingLog)

    def run(self, watched: Mapping[str, Split]) -> TrainingLog:
        """Train to the end."""
        start = self._resume()
        if not self.member.alone:
            hosts = self.member.all_gather_text(f"pid {os.getpid()} on {socket.gethostname()}")
            log.info("trained by %s", "; ".join(hosts))
        self._check_state(f"the start at epoch {start.epoch}, batch {start.batch},")
        span = self.training.span
        for epoch in range(start.epoch, span.stop):
            began = time.perf_counter()
            images = self._run_epoch(epoch, start.batch if epoch == start.epoch else 0)
            self._log_epoch(epoch, watched)
            seconds = time.perf_counter() - began
            self.log.timing.append({"epoch": epoch + 1, "seconds": seconds, "images_per_second": images / seconds})
            accuracy = self.log.metrics[-1]["accuracy_percent"]
            self.control.report({"epoch": epoch + 1, "epochs": span.stop, "accuracy_percent": accuracy})
            if epoch + 1 < span.stop and self.control.checkpoint_due(epoch_ended=True):
                self._checkpoint(Position(epoch + 1, 0))
        self._check_state("the trained network")
        self.signs.record(span.stop, 0)
        self.log.signs = self.signs.rows()
        self.rules.finish_()
        return self.log

    def _check_state(self, what: str) -> None:
        self.member.check_equal(what, lambda: what[:64] + state_digest(self.state.tensors()))

    def _run_epoch(self, epoch: int, first: int) -> int:
        """Train from batch number ``first`` to the epoch's end; return the number of images."""
        training, train = self.training, self.splits.train
        draws = draw_epoch(len(train), self.sgd_seed, epoch, training.augmentation)
        alphas = self._draw_alphas(epoch)
        if first == 0:
            self.state.seed_generators(derive(self.sgd_seed, "dropout", epoch))
            self.state.sums.zero_()
            self.rules.begin_epoch_(epoch)
        for index, batch in enumerate(_drawn_share(self.splits, draws, training, first, self.member), first):
            self.control.beat()
            if self.member.broadcast(self.control.should_stop()):
                self._checkpoint(Position(epoch, index))
                raise Interrupted
            if self.control.checkpoint_due():
                self._checkpoint(Position(epoch, index))
            if self.seeded_steps:
                torch.manual_seed(derive(self.sgd_seed, "dropout", epoch, index, "rank", self.member.rank))
            self.signs.record(epoch, index)
            if index == first or self.rules.rate_changes_by_step:
                set_learning_rate(self.state.optimizer, self.rules.learning_rate(epoch, index))
            inputs = batch.images, batch.labels, alphas[index]
            if not self.rules.update_masks_(epoch, index, *inputs):
                self.take_step(*inputs)
        return len(train) - first * training.batch_size

    def _draw_alphas(self, epoch: int) -> Tensor:
        """The alpha of each batch of an epoch, float32 (batches,) on the device; zeros without interpolation."""
        batches = -(-len(self.splits.train) // self.training.batch_size)
        if self.alpha is None:
            return torch.zeros(batches, device=self.splits.device)
        return draw_alphas(self.alpha, batches, generator(self.sgd_seed, "alpha", epoch)).to(self.splits.device)

    def _log_epoch(self, epoch: int, watched: Mapping[str, Split]) -> None:
        images, rate = len(self.splits.train), self.rules.last_learning_rate(epoch)
        loss, correct = (self.state.sums / images).tolist()  # the epoch's only synchronisation with the device
        if not math.isfinite(loss):
            raise DivergedError(_diverged("the training loss", str(loss), epoch, rate))
        self.log.add(epoch + 1, "train", loss, 100 * correct, images, rate)
        for name, split in watched.items():
            loss, error = evaluate_share(self.state.model, self.splits, split, self.member, self.control.beat)
            self.log.add(epoch + 1, name, loss, 100 - error, len(split), rate)

    def _resume(self) -> Position:
        """Restore the newest checkpoint, if there is one; return the position to train from."""
        names = [each.name for each in fields(TrainingLog)]
        folders, tensors = self.control.checkpoint_folders, {**self.state.tensors(), **self.signs.tensors()}
        snapshot = newest_checkpoint(folders, names, tensors, self._can_resume)
        if snapshot is None:
            return Position(self.training.first_epoch, 0)
        self.state.unpack(snapshot.tensors)
        self.signs.unpack(snapshot.tensors)
        self.log = TrainingLog(*(snapshot.log[name] for name in names))
        return snapshot.position

    def _can_resume(self, snapshot: Snapshot) -> bool:
        """Whether a checkpoint lies within this training, and its log has the rows of one."""
        for name, schema in (("metrics", METRICS_SCHEMA), ("timing", TIMING_SCHEMA), ("signs", SIGNS_SCHEMA)):
            pa.Table.from_pylist(snapshot.log[name], schema=schema)
        span = self.training.span
        return span.start <= snapshot.position.epoch <= span.stop

    def _checkpoint(self, position: Position) -> None:
        if self.control.checkpoints is None or not self.member.is_leader:
            return
        if not self.state.finite():  # every attempt that resumed from such a checkpoint would fail too
            rate = learning_rate(self.training, position.epoch)
            raise DivergedError(_diverged("a weight or the training loss", "infinite or NaN", position.epoch, rate))
        packed = {**self.state.packed(), **self.signs.tensors()}
        save_checkpoint(self.control.checkpoints, Snapshot(position, packed, vars(self.log)))
        self.control.checkpointed(self.control.checkpoints)


def _diverged(what: str, value: str, epoch: int, rate: float) -> str:
    return (
        f"{what} is {value} in epoch {epoch + 1} at learning rate {rate}; lower it with --set optimizer.learning_rate=…"
    )


def _drawn_share(splits: Splits, draws: Draws, training: Training, first: int, member: Member) -> Iterator[Batch]:
    """This rank's rows of the training batches from number ``first`` on; those of a short last batch may be none."""
    batch_size, augmentation = training.batch_size, training.augmentation
    if member.alone:
        yield from splits.train.drawn(draws, batch_size, augmentation, first)
        return
    rank_size = batch_size // member.ranks
    rows = torch.cat([rows[member.share(len(rows))] for rows in torch.arange(len(draws)).split(batch_size)])
    share = Draws(draws.order[rows], draws.geometry[rows], draws.flip[rows])
    yield from splits.train.drawn(share, rank_size, augmentation, first)
    if -(-len(share) // rank_size) < -(-len(draws) // batch_size):
        # this rank still takes part in the last step: the others wait for its sums
        yield Batch(splits.blank(0).to(torch.uint8), splits.train.labels[:0])
