"""Trainings from the released code's to ours: each rung adds one technique.

A rung does as the released code where it lacks a technique. From the mask on, every rung is
``workers.training.step.Step`` with techniques removed; from the fused optimizer on, it is the whole step.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

import tickets
from benchmarks.generated import LabelledImages
from benchmarks.released_style import Loader, ReleasedStep, make_loader, on_device
from benchmarks.timing import Epoch
from workers.data.augmentation import draw_epoch
from workers.data.splits import Splits
from workers.devices.memory import keeping_freed_memory
from workers.devices.memory_format import memory_format
from workers.devices.randomness import exclusive_generators_if_drawn
from workers.devices.seeds import derive, generator
from workers.devices.streams import leased_stream
from workers.models import build_model
from workers.pruning.masking import Masking
from workers.stages import Augmentation, Model, Optimizer, Precision
from workers.training.capture import CapturedStep, StepFunction
from workers.training.psi import PsiInterpolation
from workers.training.step import Step, TrainingState, make_optimizer

SEED = 0
OPTIMIZER = Optimizer(0.1)


@dataclass(frozen=True)
class Workload:
    """Data, network settings and device of all rungs.

    Attributes:
        data: the training images again, on the CPU for a DataLoader.
        interpolate_psi: train as AWS does.
        density: share of surviving weights in the random masks.
        loader_workers: processes of the released code's DataLoader.
    """

    architecture: str
    classes: int
    data: LabelledImages
    splits: Splits
    batch_size: int
    augmentation: Augmentation
    interpolate_psi: bool
    density: float
    loader_workers: int

    def model(self) -> nn.Module:
        """Create the network on the device, with the same weights at each call."""
        built = build_model(Model(self.architecture), in_channels=3, num_classes=self.classes, init_seed=SEED)
        return built.to(self.splits.device)

    def masks(self, model: nn.Module) -> dict[str, Tensor]:
        """Draw masks of the prunable weights, the same at each call."""
        draws = generator(SEED, "masks")
        shapes = {name: model.get_parameter(name).shape for name in tickets.prunable_names(model, self.classes)}
        return {name: torch.rand(shape, generator=draws) < self.density for name, shape in shapes.items()}


@dataclass(frozen=True)
class Rung:
    """A training and the techniques that it uses.

    Attributes:
        stepwise: mask after the step instead of in the forward pass, with alpha as a tensor.
        kernels: torch's default kernels, deterministic kernels, or those that cuDNN measures as fastest.
        keeps_memory: on a CPU, freed memory stays with the process until the epoch ends.
        as_lrr: without the interpolation of psi, also of a workload that has one.
        packed: number of concurrent trainings, each in its own thread and CUDA stream.
    """

    name: str
    resident: bool = False
    stepwise: bool = False
    unsynchronised: bool = False
    channels_last: bool = False
    fused: bool = False
    captured: bool = False
    keeps_memory: bool = False
    precision: Precision = "float32"
    kernels: Literal["default", "deterministic", "fastest"] = "default"
    compiled: bool = False
    as_lrr: bool = False
    packed: int = 1


def ladder(*, on_gpu: bool, aws: bool = True, everything: bool = False, packs: Sequence[int] = ()) -> list[Rung]:
    """List the rungs of a device; each adds one technique to the rung before.

    Args:
        aws: the workload interpolates psi; then one rung does not, and shows what the interpolation costs.
        everything: include slow rungs: bfloat16 on a CPU, torch.compile.
    """
    rungs = [Rung("released style")]

    def add(name: str, **technique: object) -> None:
        rungs.append(replace(rungs[-1], name=name, **technique))  # type: ignore[arg-type]

    add("+ resident data, batched augmentation", resident=True)
    add("+ mask after the step, alpha as a tensor", stepwise=True)
    add("+ no host synchronisation", unsynchronised=True)
    add("+ channels_last", channels_last=True)
    add("+ fused optimizer: workers' Step", fused=True)
    if on_gpu:
        add("+ CUDA graph", captured=True)
    else:
        add("+ freed memory is kept", keeps_memory=True)
    if on_gpu or everything:
        add("+ bfloat16", precision="bfloat16")
    if on_gpu:
        add("+ kernels that cuDNN finds by trying", kernels="fastest")
        add("deterministic kernels instead, a sweep's default", kernels="deterministic")
    top = rungs[-1]
    if everything:
        add("+ torch.compile", compiled=True)
    if aws:
        rungs.append(
            replace(top, name="without AWS and torch.compile: LRR" if everything else "without AWS: LRR", as_lrr=True)
        )
    rungs += [replace(top, name=f"{count} packed, not compiled", packed=count) for count in packs]
    return rungs


class Trainings:
    """Create the rungs' trainings; packs share theirs to save memory."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._made: dict[tuple[Rung, int], Epoch] = {}
        self._streams = ExitStack()
        model = work.model()
        with exclusive_generators_if_drawn(model, work.splits.blank(2)) as draws:
            self.draws = draws.any

    def __enter__(self) -> Trainings:
        return self

    def __exit__(self, *error: object) -> None:
        self._made.clear()
        self._streams.close()

    def epoch(self, rung: Rung) -> Epoch:
        """Return a function that trains a rung for one epoch."""
        alike = replace(rung, name="", packed=1)
        for number in range(rung.packed):
            if (alike, number) not in self._made:
                self._made[alike, number] = self._make(alike)
        members = [self._made[alike, number] for number in range(rung.packed)]
        together = members[0] if rung.packed == 1 else _packed(members)

        device = self._work.splits.device

        def run(number: int) -> None:
            _choose_kernels(rung)
            with keeping_freed_memory(device) if rung.keeps_memory else nullcontext():
                together(number)

        return run

    def _make(self, rung: Rung) -> Epoch:
        run_epoch = (
            stepwise_epochs(self._work, rung, self.draws) if rung.stepwise else released_epochs(self._work, rung)
        )
        device = self._work.splits.device
        if device.type != "cuda":
            return run_epoch
        # kept: a CUDA graph is bound to the stream of its capture
        stream = self._streams.enter_context(leased_stream(device))

        def run(epoch: int) -> None:
            with torch.cuda.stream(stream):
                run_epoch(epoch)

        return run


def released_epochs(work: Workload, rung: Rung) -> Epoch:
    """Train with the released code's step, on its DataLoader or on resident batches."""
    model, device = work.model(), work.splits.device
    step = ReleasedStep(model, work.masks(model), OPTIMIZER, interpolate_psi=work.interpolate_psi)
    loader = None if rung.resident else released_loader(work)

    def run(epoch: int) -> None:
        if loader is not None:
            batches = on_device(loader, device)
        else:
            splits = replace(work.splits, memory_format=torch.contiguous_format)
            draws = draw_epoch(len(splits.train), SEED, epoch, work.augmentation)
            drawn = splits.train.drawn(draws, work.batch_size, work.augmentation)
            batches = ((splits.normalized(batch.images), batch.labels) for batch in drawn)
        alphas = generator(SEED, "alpha", epoch)
        loss = right = 0.0
        for images, labels in batches:
            batch_loss, batch_right = step(images, labels, torch.rand((), generator=alphas).item())
            loss, right = loss + batch_loss * len(labels), right + batch_right * len(labels)

    return run


def released_loader(work: Workload) -> Loader:
    """Create the released code's DataLoader of the training split."""
    pinned = work.splits.device.type == "cuda"
    return make_loader(work.data, work.augmentation, work.batch_size, work.loader_workers, shuffle=True, pinned=pinned)


def stepwise_epochs(work: Workload, rung: Rung, draws_globally: bool) -> Epoch:
    """Train epochs as ``workers.training.trainer`` does, without the techniques that the rung lacks.

    Args:
        draws_globally: whether the network uses torch's global random generator.
    """
    model = work.model().train()
    layout = memory_format(model, work.splits.device) if rung.channels_last else torch.contiguous_format
    model, splits = model.to(memory_format=layout), replace(work.splits, memory_format=layout, precision=rung.precision)
    optimizer = make_optimizer(model, OPTIMIZER) if rung.fused else _plain_optimizer(model)
    masking = Masking(model, work.masks(model))
    masking.mask_weights_()
    interpolation = PsiInterpolation(model) if work.interpolate_psi and not rung.as_lrr else None
    step = Step(model, optimizer, masking, interpolation, splits, compiled=rung.compiled)
    state = TrainingState(model, optimizer, step.sums, generators=draws_globally)
    take_step: StepFunction = step
    if rung.captured:
        take_step = CapturedStep(step, state, exact=rung.kernels == "deterministic")
    elif not rung.unsynchronised:
        take_step = _synchronised(step)

    def run(epoch: int) -> None:
        draws = draw_epoch(len(splits.train), SEED, epoch, work.augmentation)
        batches = -(-len(splits.train) // work.batch_size)
        alphas = torch.rand(batches, generator=generator(SEED, "alpha", epoch)).to(splits.device)
        state.seed_generators(derive(SEED, "dropout", epoch))
        step.sums.zero_()
        for index, batch in enumerate(splits.train.drawn(draws, work.batch_size, work.augmentation)):
            take_step(batch.images, batch.labels, alphas[index])
        step.sums.tolist()

    return run


def _plain_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        model.parameters(),
        lr=OPTIMIZER.learning_rate,
        momentum=OPTIMIZER.momentum,
        weight_decay=OPTIMIZER.weight_decay,
    )


def _synchronised(step: Step) -> StepFunction:
    """Wrap a step: the host reads loss and accuracy after it."""

    def take_step(images: Tensor, labels: Tensor, alpha: Tensor) -> None:
        step(images, labels, alpha)
        step.sums[0].item()
        step.sums[1].item()

    return take_step


def _packed(members: Sequence[Epoch]) -> Epoch:
    """Train all members for one epoch concurrently."""

    def run(epoch: int) -> None:
        with ThreadPoolExecutor(len(members)) as threads:
            for done in [threads.submit(member, epoch) for member in members]:
                done.result()

    return run


def _choose_kernels(rung: Rung) -> None:
    """Choose kernels for this process as a worker does."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads this when it starts
    torch.use_deterministic_algorithms(rung.kernels == "deterministic", warn_only=True)
    torch.backends.cudnn.benchmark = rung.kernels == "fastest"
