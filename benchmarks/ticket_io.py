"""Measure size, write and read time of a ResNet-50 ticket against 2-bit packing and float32 masks.

    python -m benchmarks.ticket_io [--density 0.035] [--repeats 7]

Signs and mask are random, the worst case for compression. The three formats are interleaved. The table has medians
and ratios to its first line, float32 masks as the released code keeps them (one tensor each for mask and signs).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch

import tickets
from benchmarks.machine import describe_machine
from benchmarks.table import print_table
from tickets import Provenance, Ticket
from workers.models import build_model
from workers.stages import Model


def make_ticket(density: float) -> Ticket:
    """Create a ticket of the paper's ResNet-50 for CIFAR-100 with random signs and a random mask."""
    model = build_model(Model("resnet50"), in_channels=3, num_classes=100, init_seed=0)
    stream = torch.Generator().manual_seed(0)
    masks = {
        name: torch.rand(model.get_parameter(name).shape, generator=stream) < density
        for name in tickets.prunable_names(model, 100)
    }
    provenance = Provenance("cifar100", "resnet50", "aws", 15, density, "sound", "benchmark")
    return tickets.from_model(model, masks, 100, provenance)


def write_float32(ticket: Ticket, path: Path) -> None:
    """Write mask and signs as float32 tensors."""
    tensors = {name: (t.mask.float(), t.sign.float()) for name, t in ticket.tensors.items()}
    torch.save(tensors, path)


def read_float32(path: Path) -> object:
    return torch.load(path, weights_only=True)


def write_two_bits(ticket: Ticket, path: Path) -> None:
    """Write four weights per byte, as bits (mask, negative)."""
    packed = {}
    for name, tensor in ticket.tensors.items():
        bits = torch.stack((tensor.mask, tensor.sign < 0), -1).flatten().numpy()
        packed[name] = np.packbits(bits)
    np.savez(path, allow_pickle=False, **packed)


def read_two_bits(path: Path) -> object:
    with np.load(path) as file:
        return {name: np.unpackbits(file[name]).reshape(-1, 2) for name in file}


def write_ticket(ticket: Ticket, path: Path) -> None:
    tickets.save(ticket, path)


FORMATS: dict[str, tuple[Callable[[Ticket, Path], None], Callable[[Path], object], str]] = {
    "float32 mask and signs": (write_float32, read_float32, "masks.pt"),
    "2-bit packing": (write_two_bits, read_two_bits, "masks.npz"),
    "ticket (Parquet)": (write_ticket, tickets.load, "ticket.parquet"),
}


def main(given: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--density", type=float, default=0.035, help="surviving fraction of the prunable weights")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args(given)
    ticket = make_ticket(arguments.density)
    weights = sum(tensor.sign.numel() for tensor in ticket.tensors.values())
    print(describe_machine())
    print(
        f"ResNet-50, {weights:,} parameters, density {ticket.density:.4f}, random signs and mask, "
        f"{arguments.repeats} repeats\n"
    )
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in FORMATS}
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.repeats):
            for name, (write, read, file) in FORMATS.items():
                path = Path(folder) / file
                began = time.perf_counter()
                write(ticket, path)
                written = time.perf_counter()
                read(path)
                times[name].append((written - began, time.perf_counter() - written))
                sizes[name] = path.stat().st_size
    base = next(iter(FORMATS))
    rows = []
    for name in FORMATS:
        taken = [f"{median(column):.2f} s" for column in zip(*times[name], strict=True)]
        rows.append([name, f"{sizes[name] / 1e6:.2f} MB", f"{sizes[base] / sizes[name]:.1f}x", *taken])
    print_table(["format", "size", "smaller", "write", "read"], rows)


if __name__ == "__main__":
    main()
