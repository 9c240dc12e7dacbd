"""Print what reading torch's sources could only suspect of a GPU: a line for each fact, or why it could not be had.

    python -m benchmarks.gpu_facts [--only captured_steps,augmentation]
    python -m benchmarks.gpu_facts --same-bits STORE STORE

``--same-bits`` compares the results of two sweeps bit by bit. It needs no GPU. ``benchmarks/first_gpu_run.sh`` runs
both, and everything else that a first run on a GPU should show.
"""

from __future__ import annotations

import argparse
import io
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.generated import labelled_images, splits_of
from benchmarks.machine import find_device
from benchmarks.timing import wall_clock
from orchestrator.store import Store
from orchestrator.store.record import StoreError
from workers.data import batches
from workers.data.augmentation import draw_epoch
from workers.data.images.streaming import jpeg_decoder
from workers.devices.memory import shared_process
from workers.devices.streams import exclusive_stream
from workers.models import build_model
from workers.pruning.masking import Masking
from workers.stages import Augmentation, Model, Optimizer, Precision
from workers.storage.schemas import TIMING
from workers.training.capture import CapturedStep
from workers.training.gang.batch_norm import GangBatchNorm
from workers.training.gang.member import Member
from workers.training.psi import PsiInterpolation
from workers.training.step import Step, TrainingState, make_optimizer

ARCHITECTURES = {"resnet20": Model("resnet20"), "resnet50": Model("resnet50")}
BATCH, TAIL = 128, 100
STEPS, WARM_UP_STEPS = 200, 5
BATCHES = 256
BUSY_CYCLES = 400_000_000

Fact = Callable[[torch.device], str]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the facts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"of {','.join(FACTS)}; default: all")
    parser.add_argument("--same-bits", nargs=2, metavar="STORE", help="compare the results of two stores instead")
    given = parser.parse_args(arguments)
    if given.same_bits:
        try:
            print(same_bits(*given.same_bits))
        except StoreError as error:
            parser.error(str(error))
        return
    only = given.only.split(",") if given.only else list(FACTS)
    if unknown := set(only) - FACTS.keys():
        parser.error(f"no {', '.join(sorted(unknown))} here; choose from {', '.join(FACTS)}")
    if not torch.cuda.is_available():
        parser.error("there is no GPU here, and these are facts of GPUs")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads this when it starts
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # as in stages
    device = find_device()
    for name in FACTS:
        if name in only:
            print(f"{name}: {told(FACTS[name], device)}", flush=True)


def told(fact: Fact, device: torch.device) -> str:
    """Find a fact out; an error becomes its text, so that the others are found out too."""
    try:
        return fact(device)
    except Exception as error:  # whatever a library raises is the fact
        return f"RAISED {type(error).__name__}: {str(error).splitlines()[0][:200]}"


def captured_step(
    model: Model, precision: Precision, device: torch.device, *, aws: bool
) -> tuple[CapturedStep, Tensor, Tensor, Tensor]:
    """Prepare a captured step, with images, labels and alpha of a batch of CIFAR's shape."""
    data = labelled_images(BATCH, 10, "facts")
    splits = replace(splits_of(data, data, device), precision=precision)
    network = build_model(model, in_channels=3, num_classes=10, init_seed=0)
    network = network.to(device).to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(network, Optimizer(0.1))
    step = Step(network, optimizer, Masking(network, {}), PsiInterpolation(network) if aws else None, splits)
    captured = CapturedStep(step, TrainingState(network, optimizer, step.sums, generators=False), exact=True)
    return captured, data.images.to(device), data.labels.to(device), torch.full((), 0.3, device=device)


def per_step(step: Callable[[], object], device: torch.device, steps: int) -> tuple[float, float]:
    """Measure seconds of a step, and of the host to queue it."""
    clock = wall_clock(device)
    for _ in range(WARM_UP_STEPS):
        step()
    began = clock()
    for _ in range(steps):
        step()
    queued = time.perf_counter()
    return (clock() - began) / steps, (queued - began) / steps


def captured_steps(device: torch.device) -> str:
    """A step with and without AWS, in both precisions."""
    lines = []
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for name, model in ARCHITECTURES.items():
        for precision in precisions:
            for method, aws in (("LRR", False), ("AWS", True)):
                with exclusive_stream(device):
                    step, *batch = captured_step(model, precision, device, aws=aws)
                    seconds, host_seconds = per_step(lambda: step(*batch), device, STEPS)  # noqa: B023  called at once
                lines.append(f"{name} {precision} {method} {1e3 * seconds:.2f} ms (host {1e6 * host_seconds:.0f} us)")
    return f"a step of {BATCH} images: {'; '.join(lines)}"


def captured_memory(device: torch.device) -> str:
    """Memory that torch reserves for the graphs of a training."""
    torch.cuda.empty_cache()
    held = [torch.cuda.memory_reserved()]
    name, model = list(ARCHITECTURES.items())[-1]
    with exclusive_stream(device):
        step, images, labels, alpha = captured_step(model, "bfloat16", device, aws=True)
        for size in (BATCH, TAIL):
            step(images[:size], labels[:size], alpha)
            held.append(torch.cuda.memory_reserved())
        torch.cuda.empty_cache()
        held.append(torch.cuda.memory_reserved())
    one, two, emptied = ((bytes_ - held[0]) / 2**20 for bytes_ in held[1:])
    return f"{name}: {one:.0f} MiB with one graph, {two:.0f} with the tail's, {emptied:.0f} after empty_cache"


def workspaces(device: torch.device) -> str:
    """Memory that cuBLAS keeps for stages that have ended, and what a stage that is alone frees."""

    def stage(_: int) -> None:
        with exclusive_stream(device):
            nn.Linear(64, 10).to(device)(torch.randn(BATCH, 64, device=device)).sum().backward()

    held = []
    with ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            list(threads.map(stage, range(8)))
            held.append(torch.cuda.memory_allocated() >> 20)
    with shared_process(device):
        freed = torch.cuda.memory_allocated() >> 20
    return f"{held} MiB allocated after 8, 16, 24, 32 stages; {freed} where the next one is alone"


class _Both(Member):
    """A gang of two whose other rank has the same images: its exchanges cost nothing."""

    def sum_(self, tensor: Tensor) -> Tensor:
        return tensor.mul_(2)

    def all_gather(self, tensor: Tensor, group: object = None) -> Tensor:
        return torch.stack((tensor, tensor))


def gang_norm(device: torch.device) -> str:
    """A gang's batch norm by tensor operations and by the fused kernels, and how often the host waits."""
    norm = GangBatchNorm(nn.BatchNorm2d(64).to(device), _Both(0, 2))
    images = torch.randn(BATCH, 64, 32, 32, device=device).to(memory_format=torch.channels_last).requires_grad_()
    lines = []
    for name, fused in (("operations", False), ("kernels", device.type == "cuda")):
        with mock.patch.object(GangBatchNorm, "_fused", return_value=fused), _host_waits(device) as waits:
            seconds, _ = per_step(lambda: norm(images).sum().backward(), device, STEPS)
        lines.append(f"by {name} {1e3 * seconds:.3f} ms, {len(waits)} waits of the host")
    return f"forward and backward of {tuple(images.shape)}: {'; '.join(lines)}"


@contextmanager
def _host_waits(device: torch.device) -> Iterator[list[warnings.WarningMessage]]:
    """Collect torch's warnings of operations for which the host waits."""
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield caught
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def augmentation(device: torch.device) -> str:
    """Batches augmented one by one and together."""
    lines = []
    rules: tuple[tuple[Augmentation, int], ...] = (("crop_flip", 32), ("half_resized_crop_flip", 64))
    for rule, size in rules:
        split = labelled_images(BATCHES * BATCH, 10, "facts", size=size).resident(device)
        draws = draw_epoch(len(split), 0, 0, rule)

        def epoch() -> None:
            for _ in split.drawn(draws, BATCH, rule):  # noqa: B023  called at once
                pass

        together, _ = per_step(epoch, device, 3)
        with mock.patch.object(batches, "batches_at_once", return_value=1):
            alone, _ = per_step(epoch, device, 3)
        lines.append(f"{rule} {1e6 * alone / BATCHES:.0f} us a batch alone, {1e6 * together / BATCHES:.0f} together")
    return "; ".join(lines)


def decoder_memory(device: torch.device) -> str:
    """Whether the decoder writes into memory that queued crops still read, which the reader guards against."""

    def encoded(seed: int) -> Tensor:
        buffer, pixels = io.BytesIO(), np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((500, 375)).save(buffer, "jpeg", quality=90)
        return torch.from_numpy(np.frombuffer(buffer.getvalue(), np.uint8).copy())

    first, second, decode = encoded(0), encoded(1), jpeg_decoder(device)
    with exclusive_stream(device):
        (image,) = decode([first])
        expected = image.clone()
        decode([second])
        torch.cuda.synchronize()
        torch.cuda._sleep(BUSY_CYCLES)  # a training keeps the GPU busy
        crop, place = image.clone(), image.data_ptr()  # queued behind it, as crops are
        del image
        (image,) = decode([second])
        reused = image.data_ptr() == place
        torch.cuda.synchronize()
    return f"the next image took the same memory: {reused}; the crop before it is intact: {torch.equal(crop, expected)}"


def failed_capture(device: torch.device) -> str:
    """Whether a process can go on after a capture that failed; torch 2.13 and newer can."""
    stream, graph, reason = torch.cuda.Stream(device), torch.cuda.CUDAGraph(), "a capture that did not fail"
    try:
        with torch.cuda.stream(stream), torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            torch.ones(1000, device=device)
            torch.cuda.synchronize()
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:90]
    del graph
    torch.cuda.empty_cache()  # as the next stage does
    torch.rand(3, device=device)  # as dropout does
    return f"the process goes on after: {reason}"


def same_bits(one: str, other: str) -> str:
    """Compare all artifacts of two stores by their digests, except for times.

    Raises:
        StoreError: a store has no finished stage.
    """
    digests = [
        {
            f"{record.name} {name}": artifact.blake2b
            for record in Store(root).records().values()
            for name, artifact in record.files.items()
            if name != TIMING
        }
        for root in (one, other)
    ]
    for root, artifacts in zip((one, other), digests, strict=True):
        if not artifacts:
            raise StoreError(f"{root} holds no finished stage")
    names = digests[0].keys() | digests[1].keys()
    differing = sorted(name for name in names if digests[0].get(name) != digests[1].get(name))
    return "\n".join([f"{len(names) - len(differing)} of {len(names)} files have the same bits", *differing[:20]])


# the last one may leave the process unusable
FACTS: dict[str, Fact] = {
    fact.__name__: fact
    for fact in (
        captured_steps,
        captured_memory,
        workspaces,
        gang_norm,
        augmentation,
        decoder_memory,
        failed_capture,
    )
}


if __name__ == "__main__":
    main()
