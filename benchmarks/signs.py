"""Measure which share of a training the record of its signs over time takes.

    python -m benchmarks.signs [--architectures resnet1d,resnet20] [--images N] [--repeats R]

A round of 10 epochs records 14 times, and counts at its end. The steps of a few batches, the records and the end are
timed apart, since their sum drowns in the noise of two whole trainings; the table has medians, and the share of a round
with the images of MNIST-1D (resnet1d) or CIFAR (all others). The goal is at most 3 %. Times are wall-clock times on a
GPU and CPU-seconds on a CPU.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

import tickets
from benchmarks.generated import LabelledImages, labelled_images, splits_of
from benchmarks.machine import find_device
from benchmarks.table import print_table
from benchmarks.timing import Clock, interleaved, seconds, work_clock
from workers.data.splits import Splits
from workers.models import build_model
from workers.pruning.masking import Masking
from workers.stages import Model, Optimizer
from workers.storage.artifacts import write_rows
from workers.storage.schemas import SIGNS_SCHEMA
from workers.training.psi import PsiInterpolation
from workers.training.signs import SignRecorder, record_points, signs_summary
from workers.training.step import Step, make_optimizer

ARCHITECTURES = ("resnet1d", "resnet20", "resnet50")
EPOCHS, BATCH, CLASSES, STEPS, GOAL_PERCENT = 10, 128, 10, 4, 3.0
MNIST1D_IMAGES, CIFAR_IMAGES = 3_600, 45_000


def data_of(architecture: str, device: torch.device) -> Splits:
    """Generate a few batches of MNIST-1D's or of CIFAR's size."""
    if architecture != "resnet1d":
        images = labelled_images(STEPS * BATCH, CLASSES, "train")
        return splits_of(images, images, device)
    wide = labelled_images(STEPS * BATCH, CLASSES, "train", size=40)
    signals = LabelledImages(wide.images[:, :1, :1].contiguous(), wide.labels)
    splits = splits_of(signals, signals, device)
    return replace(splits, mean=splits.mean[:, :1], inverse_std=splits.inverse_std[:, :1])


def measure(architecture: str, images: int, repeats: int, device: torch.device) -> list[str]:
    """Time a round's parts; return a row of the table."""
    clock, splits = work_clock(device), data_of(architecture, device)
    channels = splits.mean.shape[1]
    model = build_model(Model(architecture), in_channels=channels, num_classes=CLASSES, init_seed=0).to(device)
    masks = {
        name: torch.ones_like(model.get_parameter(name), dtype=torch.bool)
        for name in tickets.prunable_names(model, CLASSES)
    }
    step = Step(model, make_optimizer(model, Optimizer(0.1)), Masking(model, masks), PsiInterpolation(model), splits)
    batches, span, steps = list(splits.train.in_order(BATCH)), range(EPOCHS), -(-images // BATCH)
    alpha = torch.tensor(0.5, device=device)

    def train() -> None:
        for batch in batches:
            step(batch.images, batch.labels, alpha)

    recorder = SignRecorder(model, masks, span, steps)

    def record() -> None:
        for epoch, batch in record_points(span, steps):
            recorder.record(epoch, batch)

    with tempfile.TemporaryDirectory() as folder:

        def end() -> None:
            rows = recorder.rows()
            signs_summary(rows)
            write_rows(Path(folder) / "signs.parquet", rows, SIGNS_SCHEMA, compressed=True)

        works: dict[str, Callable[[], None]] = {"train": train, "record": record, "end": end}
        for work in works.values():  # first calls allocate
            work()
        taken = interleaved({name: _timed(clock, work) for name, work in works.items()}, repeats)
        size_bytes = (Path(folder) / "signs.parquet").stat().st_size
    whole_s = taken["train"] / len(batches) * steps * EPOCHS
    percent = 100 * (taken["record"] + taken["end"]) / whole_s
    one_record_ms = 1000 * taken["record"] / len(record_points(span, steps))
    times = [f"{1000 * taken['train'] / len(batches):,.1f}", f"{one_record_ms:,.2f}", f"{1000 * taken['end']:,.1f}"]
    return [architecture, f"{images:,}", *times, f"{size_bytes / 1000:,.0f}", f"{percent:.3f} %"]


def _timed(clock: Clock, work: Callable[[], None]) -> Callable[[], float]:
    return lambda: seconds(clock, work)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", default="resnet1d,resnet20", help=f"of {','.join(ARCHITECTURES)}")
    parser.add_argument("--images", type=int, help="per epoch of the round; by default those of the data set")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args(arguments)
    chosen = given.architectures.split(",")
    if unknown := set(chosen) - set(ARCHITECTURES):
        parser.error(f"no {', '.join(sorted(unknown))} here; choose from {', '.join(ARCHITECTURES)}")
    device = find_device()
    print(f"a dense round of {EPOCHS} epochs under AWS, batches of {BATCH}, {given.repeats} repeats; ", end="")
    print(f"the goal is {GOAL_PERCENT:g} %\n")
    rows = []
    for architecture in chosen:
        images = given.images or (MNIST1D_IMAGES if architecture == "resnet1d" else CIFAR_IMAGES)
        rows.append(measure(architecture, images, given.repeats, device))
    print_table(
        ["network", "images per epoch", "step, ms", "record, ms", "end, ms", "signs.parquet, kB", "of the round"], rows
    )


if __name__ == "__main__":
    main()
