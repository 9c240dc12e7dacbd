"""Measure training images per second of the released code's loop, of ours, and of each technique between them.

    python -m benchmarks.training [--architectures resnet20,resnet50] [--batch-size 128] [--images N] [--repeats R]
    python -m benchmarks.training --architectures resnet20,resnet32 --pack 2,4,8 --all

The variants add one technique at a time, from the baseline ``benchmarks.released_style`` to the trainer of a sweep,
whose step is ``workers.training.step.Step``. Times are wall-clock times on a GPU, where the baseline has a loader
process per core, and CPU-seconds of one thread without loader processes on a CPU. The variants are interleaved over
the repeats, each after a warm-up epoch; the table has medians.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

import torch

from benchmarks.generated import labelled_images, splits_of
from benchmarks.ladder import Rung, Trainings, Workload, ladder
from benchmarks.machine import find_device
from benchmarks.table import print_table
from benchmarks.timing import Clock, interleaved, next_epoch, work_clock
from workers.stages import Augmentation

ARCHITECTURES = ("resnet20", "resnet32", "resnet50", "mobilenetv2", "efficientnet_b0", "shufflenet_g3")
CLASSES = 100
IMAGES_ON_GPU, IMAGES_ON_CPU = 20_480, 512


def rates(work: Workload, rungs: Sequence[Rung], repeats: int, clock: Clock) -> list[float]:
    """Measure images per second of each rung."""
    with Trainings(work) as trainings:
        taken = interleaved({rung.name: next_epoch(clock, trainings.epoch(rung)) for rung in rungs}, repeats)
    return [rung.packed * len(work.data.labels) / taken[rung.name] for rung in rungs]


def measure(work: Workload, rungs: Sequence[Rung], repeats: int, clock: Clock, unit: str) -> None:
    """Print the table of one architecture."""
    measured = rates(work, rungs, repeats, clock)
    before = [measured[0], *measured]
    print_table(
        [work.architecture, unit, "to the released style", "to the row above"],
        [
            [rung.name, f"{rate:,.0f}", f"{rate / measured[0]:.2f}x", f"{rate / last:.2f}x"]
            for rung, rate, last in zip(rungs, measured, before, strict=False)
        ],
    )


def numbers(text: str) -> list[int]:
    """Parse numbers such as "2,4,8"."""
    return [int(part) for part in text.split(",") if part]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each architecture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", help=f"of {','.join(ARCHITECTURES)}; default on a CPU: resnet20")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument(
        "--images", type=int, help=f"per epoch; default: {IMAGES_ON_GPU:,} on a GPU, {IMAGES_ON_CPU} on a CPU"
    )
    parser.add_argument(
        "--image-size", type=int, default=32, help="side in pixels; 64 is Tiny-ImageNet's, 16 figure3_small's"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--density", type=float, default=0.2, help="surviving fraction of the prunable weights")
    parser.add_argument(
        "--without-aws", action="store_true", help="do not interpolate psi, as in LRR and final trainings"
    )
    parser.add_argument("--all", action="store_true", help="also the slow torch.compile and, on a CPU, bfloat16")
    parser.add_argument("--pack", type=numbers, default=numbers("2,4,8"), help="concurrent trainings on a GPU")
    given = parser.parse_args(arguments)
    device = find_device()
    gpu = device.type == "cuda"
    chosen = (given.architectures or (",".join(ARCHITECTURES) if gpu else "resnet20")).split(",")
    if unknown := set(chosen) - set(ARCHITECTURES):
        parser.error(f"no {', '.join(sorted(unknown))} here; choose from {', '.join(ARCHITECTURES)}")

    workers = (os.cpu_count() or 1) if gpu else 0
    images = given.images or (IMAGES_ON_GPU if gpu else IMAGES_ON_CPU)
    data = labelled_images(images, CLASSES, "train", size=given.image_size)
    splits = splits_of(data, data, device)
    of_size: dict[int, Augmentation] = {16: "crop_flip_2", 32: "crop_flip"}
    augmentation = of_size.get(given.image_size, "half_resized_crop_flip")
    print(
        f"{images:,} images of {given.image_size} pixels an epoch, {augmentation}, batches of {given.batch_size}, "
        f"density {given.density}, {'without AWS' if given.without_aws else 'AWS'}, {given.repeats} repeats, "
        f"{workers} loader processes\n"
    )
    for architecture in chosen:
        work = Workload(
            architecture,
            CLASSES,
            data,
            splits,
            given.batch_size,
            augmentation,
            interpolate_psi=not given.without_aws,
            density=given.density,
            loader_workers=workers,
        )
        rungs = ladder(on_gpu=gpu, aws=work.interpolate_psi, everything=given.all, packs=given.pack if gpu else ())
        measure(work, rungs, given.repeats, work_clock(device), "images/s" if gpu else "images/CPU-second")
        if gpu:
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
