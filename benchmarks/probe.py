"""Compare barrier probes of the released code and ours: seconds, forward passes and barriers.

    python -m benchmarks.probe [--scale 0.1] [--points 5] [--pairs 1,4] [--repeats R]

The released protocol reads the whole training set at each point, with momentum 0.1, and loads every batch for one
point only. Ours reads 5,120 images for all points, and each loaded batch serves every point of every pair. At scale 1,
the default on a GPU, the sets have CIFAR's sizes. A smaller scale shrinks training set, test set and our 5,120 images
alike: it keeps the ratio of forward passes but makes both re-estimations noisier. Times are those of
``benchmarks.training``: wall-clock time on a GPU, CPU-seconds of one thread without loader processes on a CPU.

Both networks start from one initialisation and train with two SGD seeds on few images, so that they have a barrier.
Further pairs are that pair with all weights scaled, since points that pairs share are computed once. Barriers come from
the last repeat; their standard errors cover the test images only, so the effect of re-estimation shows in the
difference of the two.
"""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.generated import LabelledImages, labelled_images, splits_of
from benchmarks.machine import find_device
from benchmarks.released_style import make_loader, released_curve
from benchmarks.table import print_table
from benchmarks.timing import Clock, interleaved, seconds, work_clock
from workers.data.splits import Splits
from workers.models import build_model
from workers.probing.path import barrier, path_outcomes
from workers.stages import Augmentation, Data, Model, Optimizer, Precision, Probe, Setting, Training
from workers.stages.execution import Control
from workers.training.evaluation import Outcomes
from workers.training.trainer import train

CLASSES = 10
SIGNAL = 0.2  # chosen so that an epoch of 3,000 images leaves about 50 % test error at every scale
TRAIN_IMAGES, TEST_IMAGES, BN_IMAGES = 50_000, 10_000, 5_120
AUGMENTATION: Augmentation = "crop_flip"

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Sizes:
    """Numbers of images at a scale of CIFAR's."""

    scale: float

    @property
    def train(self) -> int:
        return round(TRAIN_IMAGES * self.scale)

    @property
    def test(self) -> int:
        return round(TEST_IMAGES * self.scale)

    @property
    def reestimation(self) -> int:
        return round(BN_IMAGES * self.scale)


def trained_pair(model: nn.Module, images: int, epochs: int, device: torch.device) -> tuple[State, State]:
    """Train two networks from one initialisation with different SGD seeds."""
    few = labelled_images(images, CLASSES, "networks", signal=SIGNAL)
    splits = splits_of(few, few, device)
    training = Training(epochs, 128, Optimizer(0.05), augmentation=AUGMENTATION)

    def trained(seed: int) -> State:
        network = copy.deepcopy(model).to(memory_format=splits.memory_format)
        train(network, training, splits, masks={}, sgd_seed=seed, watched={}, control=Control())
        return network.state_dict()

    return trained(1), trained(2)


def scaled(pair: tuple[State, State], factor: float) -> tuple[State, State]:
    """Multiply all floating-point tensors of both networks."""
    first, second = (
        {name: tensor * factor if tensor.is_floating_point() else tensor for name, tensor in state.items()}
        for state in pair
    )
    return first, second


class ForwardCounter:
    """Count images that pass forward through a network or its copies."""

    def __init__(self, model: nn.Module) -> None:
        self.images = 0

        def count(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            self.images += len(arguments[0])

        model.register_forward_pre_hook(count)


@dataclass
class Protocol:
    """A way to probe pairs, and the results of its last run.

    Attributes:
        curves: computes each pair's outcomes at each point.
    """

    pairs: int
    curves: Callable[[], Sequence[Sequence[Outcomes]]]
    counter: ForwardCounter
    forwards: int = 0
    curve: Sequence[Outcomes] = ()

    def measure(self, clock: Clock) -> float:
        """Run the protocol once; return its seconds."""
        self.counter.images = 0
        taken = seconds(clock, self._run)
        self.forwards = self.counter.images
        return taken

    def _run(self) -> None:
        self.curve = self.curves()[0]


def protocols(
    model: nn.Module,
    pair: tuple[State, State],
    train_images: LabelledImages,
    test_images: LabelledImages,
    splits: Splits,
    probe: Probe,
    pairs: Sequence[int],
) -> dict[str, Protocol]:
    """List the released protocol for one pair, then ours for each number of pairs."""
    device = splits.device
    gpu = device.type == "cuda"
    workers = (os.cpu_count() or 1) if gpu else 0
    size = probe.batch_size
    train_loader = make_loader(train_images, AUGMENTATION, size, workers, shuffle=True, pinned=gpu)
    test_loader = make_loader(test_images, "none", size, workers, shuffle=False, pinned=gpu)
    counter = ForwardCounter(model)

    def released() -> list[list[Outcomes]]:
        return [released_curve(model, *pair, probe.points, train_loader, test_loader, device)]

    by_name = {"released protocol": Protocol(1, released, counter)}
    ours = copy.deepcopy(model).to(memory_format=splits.memory_format)
    for count in pairs:
        several = [scaled(pair, 1 + number / 1000) for number in range(count)]
        by_name[f"ours, {count} {'pair' if count == 1 else 'pairs'} at a time"] = Protocol(
            count, partial(_our_curves, ours, several, probe, splits), counter
        )
    return by_name


def _our_curves(
    model: nn.Module, pairs: Sequence[tuple[State, State]], probe: Probe, splits: Splits
) -> list[list[Outcomes]]:
    return path_outcomes(model, pairs, probe, splits)[1]


def print_results(found: Mapping[str, Protocol], taken: Mapping[str, float], unit: str) -> None:
    """Print the tables of times and barriers."""
    base = next(iter(found))
    rows = []
    for name, protocol in found.items():
        per_pair, forwards = taken[name] / protocol.pairs, protocol.forwards / protocol.pairs
        rows.append(
            [
                name,
                f"{per_pair:.2f}",
                f"{taken[base] / per_pair:.2f}x",
                f"{forwards:,.0f}",
                f"{found[base].forwards / forwards:.2f}x",
            ]
        )
    print_table(["resnet20", f"{unit} a pair", "faster", "forwards a pair", "fewer"], rows)
    print_table(
        ["barriers", "error barrier, points", "loss barrier, nats", "error at the ends, percent"],
        [[name, *_barriers(protocol.curve)] for name, protocol in found.items()],
    )


def _barriers(curve: Sequence[Outcomes]) -> list[str]:
    lambdas = [index / (len(curve) - 1) for index in range(len(curve))]
    error = barrier(lambdas, [point.error for point in curve])
    loss = barrier(lambdas, [point.loss_nats for point in curve])
    return [
        f"{100 * error.height:.2f} ± {100 * error.standard_error:.2f}",
        f"{loss.height:.4f} ± {loss.standard_error:.4f}",
        f"{curve[0].error_percent:.1f}, {curve[-1].error_percent:.1f}",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, help="share of CIFAR's sizes; default: 1 on a GPU, 0.1 on a CPU")
    parser.add_argument("--points", type=int, help="points of a path; default: 11 on a GPU, 5 on a CPU")
    parser.add_argument("--pairs", default="1,4", help="numbers of pairs that our protocol probes together")
    parser.add_argument("--network-images", type=int, default=3_000, help="training images of the two networks")
    parser.add_argument("--epochs", type=int, default=1, help="epochs of that training")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32", help="precision of our forwards"
    )
    parser.add_argument("--repeats", type=int, help="default: 5 on a GPU, 1 on a CPU")
    given = parser.parse_args(arguments)
    device = find_device()
    gpu = device.type == "cuda"
    sizes, points = Sizes(given.scale or (1.0 if gpu else 0.1)), given.points or (11 if gpu else 5)
    pairs = [int(count) for count in given.pairs.split(",")]
    precision: Precision = given.precision

    train_images = labelled_images(sizes.train, CLASSES, "train", signal=SIGNAL)
    test_images = labelled_images(sizes.test, CLASSES, "test", signal=SIGNAL)
    splits = replace(splits_of(train_images, test_images, device), precision=precision)
    model = build_model(Model("resnet20"), in_channels=3, num_classes=CLASSES, init_seed=0).to(device)
    pair = trained_pair(model, given.network_images, given.epochs, device)
    setting = Setting("sound", Data("generated", "", 0.0), Model("resnet20"), precision=precision)
    probe = Probe(setting, points, given.batch_size, sizes.reestimation, None, AUGMENTATION)
    repeats = given.repeats or (5 if gpu else 1)
    print(
        f"scale {sizes.scale:g} of CIFAR: {sizes.train:,} training images, {sizes.test:,} test images, "
        f"{sizes.reestimation:,} for our re-estimation; {points} points, {given.precision}, {repeats} repeats\n"
    )
    by_name = protocols(model, pair, train_images, test_images, splits, probe, pairs)
    clock = work_clock(device)
    measures = {name: partial(protocol.measure, clock) for name, protocol in by_name.items()}
    print_results(by_name, interleaved(measures, repeats, warm_up=gpu), "seconds" if gpu else "CPU-seconds")


if __name__ == "__main__":
    main()
