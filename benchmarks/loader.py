"""Measure images per second of our ImageNet readers against torchvision's ImageFolder with a DataLoader.

    python -m benchmarks.loader [--images N] [--processes 0,1,2] [--repeats R]

The JPEGs are generated and read from the page cache. Each variant decodes, crops, resizes to 224 pixels, flips,
normalises and moves one epoch to the device. Images per second are of wall-clock time, so other load on the processor
counts; images per CPU-second count the time of all processes. Ratios compare with the DataLoader that has the most
processes. Processes start before the measurement.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.generated import PIXEL_MEAN, PIXEL_STD, labelled_images, splits_of, write_jpegs
from benchmarks.machine import find_device
from benchmarks.released_style import on_device
from benchmarks.table import print_table
from benchmarks.timing import Epoch, family_clock, interleaved, next_epoch, seconds, wall_clock
from workers.data.augmentation import draw_epoch
from workers.data.images.encoded import FilePictures
from workers.data.images.streaming import DeviceReader, ProcessReader, Reader, StreamedSplit, jpeg_decoder
from workers.data.splits import Splits
from workers.stages import IMAGE_SIZE, Augmentation

AUGMENTATION: Augmentation = "resized_crop_flip"


def image_folder(root: Path, processes: int, batch_size: int, device: torch.device) -> Epoch:
    """Load ImageNet as torchvision's examples do."""
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(IMAGE_SIZE),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((PIXEL_MEAN,) * 3, (PIXEL_STD,) * 3),
        ]
    )
    loader = DataLoader(
        ImageFolder(root, transform),
        batch_size,
        shuffle=True,
        num_workers=processes,
        persistent_workers=processes > 0,
        pin_memory=device.type == "cuda",
    )

    def load(epoch: int) -> None:
        for _ in on_device(loader, device):
            pass

    return load


def streamed(reader: Reader, batch_size: int, normalisation: Splits) -> Epoch:
    """Load a streamed training split with one of our readers."""
    rows = torch.arange(len(reader.labels))
    split = StreamedSplit(reader, rows, reader.labels.to(normalisation.device), (IMAGE_SIZE, IMAGE_SIZE))

    def load(epoch: int) -> None:
        draws = draw_epoch(len(split), 0, epoch, AUGMENTATION)
        for batch in split.drawn(draws, batch_size, AUGMENTATION):
            normalisation.normalized(batch.images)

    return load


def variants(
    pictures: FilePictures, processes: Sequence[int], batch_size: int, device: torch.device
) -> dict[str, Epoch]:
    """List all ways to load these images, the baseline first."""
    none = labelled_images(0, 1, "none")
    normalisation = splits_of(none, none, device)
    loaders = {
        f"ImageFolder and DataLoader, {number} processes": image_folder(pictures.root, number, batch_size, device)
        for number in sorted(processes, reverse=True)
    }
    for number in sorted(processes):
        reader = ProcessReader(pictures, device, number)
        loaders[f"ProcessReader, {number} processes"] = streamed(reader, batch_size, normalisation)
    name = "DeviceReader" if device.type == "cuda" else "DeviceReader, decoding on the CPU"
    loaders[name] = streamed(DeviceReader(pictures, device, jpeg_decoder(device)), batch_size, normalisation)
    return loaders


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, help="images per epoch; default: 20,000 on a GPU, 512 on a CPU")
    parser.add_argument("--batch-size", type=int, help="default: 256 on a GPU, 32 on a CPU")
    parser.add_argument("--processes", help="numbers of loader processes; default: 0, 1, 2, 4, ... up to the cores")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args(arguments)
    device = find_device()
    gpu = device.type == "cuda"
    images, batch_size = given.images or (20_000 if gpu else 512), given.batch_size or (256 if gpu else 32)
    processes = [int(number) for number in given.processes.split(",")] if given.processes else powers_up_to_cores()
    with tempfile.TemporaryDirectory() as folder:
        pictures = write_jpegs(Path(folder), images)
        size = sum(pictures.path(index).stat().st_size for index in range(images)) / images
        print(f"{images:,} JPEGs of {size / 1e3:.0f} kB on average, batches of {batch_size}, {given.repeats} repeats\n")
        clock = wall_clock(device)
        loaders = variants(pictures, processes, batch_size, device)
        work: dict[str, list[float]] = {name: [] for name in loaders}
        measures = {name: next_epoch(clock, counting(epoch, work[name])) for name, epoch in loaders.items()}
        taken = interleaved(measures, given.repeats)
    worked = {name: median(epochs[1:]) for name, epochs in work.items()}  # without the warm-up
    first = next(iter(loaders))
    print_table(
        ["loader", "images/s", "ratio", "images per CPU-second", "ratio"],
        [
            [
                name,
                f"{images / taken[name]:,.0f}",
                f"{taken[first] / taken[name]:.2f}x",
                f"{images / worked[name]:,.0f}",
                f"{worked[first] / worked[name]:.2f}x",
            ]
            for name in loaders
        ],
    )


def counting(epoch: Epoch, work: list[float]) -> Epoch:
    """Append each epoch's CPU seconds, of all processes, to a list."""

    def run(number: int) -> None:
        work.append(seconds(family_clock, lambda: epoch(number)))

    return run


def powers_up_to_cores() -> list[int]:
    """List 0, the powers of two up to the number of cores, and that number."""
    cores = os.cpu_count() or 1
    return sorted({0, cores, *(1 << power for power in range(cores.bit_length()) if 1 << power <= cores)})


if __name__ == "__main__":
    main()
