"""Compare test accuracy of bfloat16 and float32 trainings: ResNet-20 on CIFAR-10, by seed.

    python -m benchmarks.precision --data-root ~/data [--seeds 3] [--epochs 40]

``workers.training.train`` trains each seed once per precision, from the same initialisation and draws: crop and flip,
SGD at 0.1 in batches of 128, the rate divided by 10 after half and three quarters of the epochs, all training images,
the test set read once at the end. The difference is paired by seed and has a 95 % t interval. The benchmark is meant
for a GPU, where it trains as a sweep does (CUDA graphs, deterministic kernels).
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import get_args

import torch
from scipy.special import stdtrit

from benchmarks.machine import find_device
from benchmarks.table import print_table
from workers.data import DataError, MappedData, StreamedData, default_cache, fingerprint, open_data
from workers.data.splits import Splits, split_data
from workers.devices.streams import exclusive_stream
from workers.models import build_model
from workers.stages import Data, Model, Optimizer, Precision, Schedule, Training
from workers.stages.execution import Control
from workers.training.evaluation import evaluate
from workers.training.trainer import train

DATASET = "cifar10"
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def training_of(epochs: int) -> Training:
    """Return the training of a number of epochs."""
    steps = Schedule("steps", (epochs // 2, 3 * epochs // 4), 0.1)
    return Training(epochs, 128, Optimizer(0.1), steps, "crop_flip")


def accuracy_percent(precision: Precision, seed: int, training: Training, splits: Splits, classes: int) -> float:
    """Train with one precision and seed; return the test accuracy in percent."""
    model = build_model(Model("resnet20"), in_channels=3, num_classes=classes, init_seed=seed)
    model = model.to(splits.device).to(memory_format=torch.channels_last)
    splits = replace(splits, precision=precision)
    with exclusive_stream(splits.device):
        train(
            model,
            training,
            splits,
            masks={},
            sgd_seed=seed,
            watched={},
            control=Control(),
        )
        (outcomes,) = evaluate([model], splits, splits.test)
    return 100 - outcomes.error_percent


def print_results(found: dict[Precision, list[float]]) -> None:
    """Print a row per seed, then means, standard deviations and the paired difference."""
    differences = [b - a for a, b in zip(found["float32"], found["bfloat16"], strict=True)]
    columns = [*(found[precision] for precision in PRECISIONS), differences]
    rows = [[str(seed), *(f"{column[seed]:.2f}" for column in columns)] for seed in range(len(differences))]
    rows.append(["mean", *(f"{mean(column):.2f}" for column in columns)])
    if len(differences) > 1:
        rows.append(["sd", *(f"{stdev(column):.2f}" for column in columns)])
    print_table(["seed", *PRECISIONS, "difference"], rows)
    if len(differences) > 1:
        half = stdtrit(len(differences) - 1, 0.975) * stdev(differences) / math.sqrt(len(differences))
        low, high = mean(differences) - half, mean(differences) + half
        print(f"bfloat16 - float32: {mean(differences):+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}")


def opened(root: Path, cache: Path) -> MappedData | StreamedData:
    """Open the data set, and prepare it first where needed."""
    return open_data(DATASET, fingerprint(DATASET, root, cache), root, cache)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="folder with cifar10")
    parser.add_argument("--data-cache", type=Path, default=default_cache(), help="folder of the decoded arrays")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--allow-cpu", action="store_true", help="allow a CPU, which takes many hours")
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available() and not given.allow_cpu:
        parser.error(
            "there is no GPU here, and on a CPU this takes many hours; give --allow-cpu to run it all the same"
        )
    try:
        data = opened(given.data_root, given.data_cache)
    except DataError as error:
        parser.error(str(error))

    device = find_device()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads this when it starts
    torch.use_deterministic_algorithms(device.type == "cuda", warn_only=True)
    splits = split_data(data, Data(DATASET, "", 0.0), device)
    training = training_of(given.epochs)
    print(f"ResNet-20, {DATASET}, {len(splits.train):,} training images, {given.epochs} epochs, {given.seeds} seeds")
    results: dict[Precision, list[float]] = {precision: [] for precision in PRECISIONS}
    for seed in range(given.seeds):
        for precision, accuracies in results.items():
            began = time.perf_counter()
            accuracies.append(accuracy_percent(precision, seed, training, splits, data.num_classes))
            took = time.perf_counter() - began
            print(f"seed {seed}, {precision}: {accuracies[-1]:.2f} % in {took:.0f} s", flush=True)
    print()
    print_results(results)


if __name__ == "__main__":
    main()
