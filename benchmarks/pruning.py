"""Measure the seconds to prune a ResNet-50 globally by magnitude and to start one from a ticket.

    python -m benchmarks.pruning [--densities 1,0.5,0.1,0.035] [--repeats R]

A pruning removes a fifth of the survivors, at several densities. The baseline is
``torch.nn.utils.prune.global_unstructured``; a third variant goes through numpy (all magnitudes to the CPU,
``numpy.partition``, a comparison by layer). Times are wall-clock times, on a CPU with one thread. Goals: 50 ms on a GPU
and 1 s on a CPU, for a pruning and for a signed transfer.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

import tickets
from benchmarks.machine import find_device
from benchmarks.table import print_table
from benchmarks.timing import Clock, interleaved, seconds, wall_clock
from tickets import Provenance, Ticket
from workers.models import build_model
from workers.pruning.selection import magnitudes, prune
from workers.stages import Model

FRACTION = 0.2
CLASSES = 100
GOAL_ON_GPU_S, GOAL_ON_CPU_S = 0.05, 1.0

Tensors = Mapping[str, Tensor]


def by_torch(model: nn.Module, masks: Tensors, clock: Clock) -> tuple[float, int]:
    """Prune a copy with torch's global pruning; return seconds and number of kept weights."""
    pruned = copy.deepcopy(model)
    layers = [pruned.get_submodule(name.rpartition(".")[0]) for name in masks]
    for layer, mask in zip(layers, masks.values(), strict=True):
        torch_prune.custom_from_mask(layer, "weight", mask)
    weights = [(layer, "weight") for layer in layers]
    taken = seconds(
        clock,
        lambda: torch_prune.global_unstructured(weights, pruning_method=torch_prune.L1Unstructured, amount=FRACTION),
    )
    return taken, sum(int(layer.get_buffer("weight_mask").sum()) for layer in layers)


def by_numpy(model: nn.Module, masks: Tensors, clock: Clock) -> tuple[float, int]:
    """Prune through numpy; return seconds and number of kept weights."""
    weights, kept = _weights(model, masks), {}

    def prune_() -> None:
        alive = [abs(weights[name][mask].cpu().numpy()) for name, mask in masks.items()]
        magnitudes = np.concatenate(alive)
        gone = round(FRACTION * len(magnitudes))
        threshold = np.partition(magnitudes, gone)[gone]
        for name, mask in masks.items():
            large = np.abs(weights[name].cpu().numpy()) >= threshold
            kept[name] = torch.from_numpy(large & mask.cpu().numpy()).to(mask.device)

    return seconds(clock, prune_), sum(int(mask.sum()) for mask in kept.values())


def by_workers(model: nn.Module, masks: Tensors, clock: Clock) -> tuple[float, int]:
    """Prune with ``workers.pruning.selection.prune``; return seconds and number of kept weights."""
    weights, kept = _weights(model, masks), {}
    taken = seconds(clock, lambda: kept.update(prune(magnitudes(weights), masks, FRACTION)))
    return taken, sum(int(mask.sum()) for mask in kept.values())


WAYS: Mapping[str, Callable[[nn.Module, Tensors, Clock], tuple[float, int]]] = {
    "torch's global_unstructured": by_torch,
    "numpy.partition": by_numpy,
    "workers.pruning.selection.prune": by_workers,
}


def _weights(model: nn.Module, masks: Tensors) -> dict[str, Tensor]:
    return {name: model.get_parameter(name).detach() for name in masks}


def _all_alive(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: torch.ones_like(model.get_parameter(name), dtype=torch.bool)
        for name in tickets.prunable_names(model, CLASSES)
    }


def compare_prunings(model: nn.Module, densities: Sequence[float], repeats: int, clock: Clock) -> None:
    """Print the table of prunings."""
    alive = _all_alive(model)
    kept: dict[str, int] = {}
    measures: dict[str, Callable[[], float]] = {}

    def measure(name: str, way: Callable[[nn.Module, Tensors, Clock], tuple[float, int]], masks: Tensors) -> float:
        taken, kept[name] = way(model, masks, clock)
        return taken

    for density in densities:
        masks = prune(magnitudes(_weights(model, alive)), alive, 1 - density)
        for way, function in WAYS.items():
            name = f"{density:g}, {way}"
            measures[name] = partial(measure, name, function, masks)
    taken = interleaved(measures, repeats)
    rows = []
    for density in densities:
        names = [f"{density:g}, {way}" for way in WAYS]
        rows += [
            [name, f"{1e3 * taken[name]:,.1f}", f"{taken[names[0]] / taken[name]:.2f}x", f"{kept[name]:,}"]
            for name in names
        ]
    print_table(["density before, way", "ms", "faster", "weights kept"], rows)


def measure_transfer(model: nn.Module, density: float, repeats: int, clock: Clock) -> None:
    """Print the time of a signed transfer."""
    alive = _all_alive(model)
    masks = prune(magnitudes(_weights(model, alive)), alive, 1 - density)
    provenance = Provenance("cifar100", "resnet50", "aws", 15, density, "sound", "benchmark")
    ticket: Ticket = tickets.from_model(model, masks, CLASSES, provenance)

    def transfer() -> float:
        fresh, draws = copy.deepcopy(model), torch.Generator().manual_seed(0)
        return seconds(clock, lambda: tickets.transfer_(fresh, tickets.SIGNED, ticket.tensors, None, draws))

    taken = interleaved({"transfer": transfer}, repeats)["transfer"]
    print_table(["transfer", "ms"], [[f"signed, density {density:g}", f"{1e3 * taken:,.1f}"]])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="resnet50")
    parser.add_argument("--densities", default="1,0.5,0.1,0.035", help="surviving fractions before the pruning")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args(arguments)
    device = find_device()
    densities = [float(density) for density in given.densities.split(",")]
    model = build_model(Model(given.architecture), in_channels=3, num_classes=CLASSES, init_seed=0).to(device)
    weights = sum(parameter.numel() for parameter in model.parameters())
    goal = GOAL_ON_GPU_S if device.type == "cuda" else GOAL_ON_CPU_S
    print(f"{given.architecture}, {weights:,} parameters, {given.repeats} repeats; the goal is {1e3 * goal:,.0f} ms\n")
    clock = wall_clock(device)
    compare_prunings(model, densities, given.repeats, clock)
    measure_transfer(model, min(densities), given.repeats, clock)


if __name__ == "__main__":
    main()
