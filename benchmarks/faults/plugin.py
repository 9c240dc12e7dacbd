"""Plugin of a trial: a small data set, and networks that log each training batch and meet faults.

The plugin is copied into the trial's folder and reads ``fault.json`` beside it:

    {"kind": "raise", "at": [120], "folder": "/a/folder/to/fill", "rank": null}

The fault happens once for each number in ``at``, at the first training batch from that number on, counted over all
processes of the trial. If ``rank`` is set, the fault happens in the first such batch of that rank.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn

from workers.data import Arrays, Source, data_set
from workers.models import ARCHITECTURES
from workers.models.registry import Architecture

HERE = Path(__file__).parent
SLOW_S = 0.002  # per batch, so that a training lasts several checkpoint intervals
EPOCH = 18  # batches
CLOCK_BACK_S = 3 * 3600.0
DISK_FULL_S = 1.5


@data_set("patterns", channels=1, num_classes=3)
def find(data_root: Path | None, downloads: Path) -> Source:
    """Find 200 training and 60 test images."""

    def decode() -> Arrays:
        stream = np.random.default_rng(0)
        patterns = stream.integers(0, 256, (3, 1, 8, 8))
        labels = stream.integers(0, 3, 260)
        images = (patterns[labels] * 0.5 + stream.integers(0, 128, (260, 1, 8, 8))).astype(np.uint8)
        return Arrays(images[:200], labels[:200], images[200:], labels[200:])

    return Source("made by a benchmark", "patterns-1", decode)


def _raise(module: nn.Module) -> None:
    raise ValueError("injected: the stage raises")


def _out_of_memory(module: nn.Module) -> None:
    torch.empty(1 << 60, dtype=torch.uint8)  # an exbibyte: torch itself raises that memory is out


@torch.no_grad()
def _nan(module: nn.Module) -> None:
    next(module.parameters()).fill_(float("nan"))


def _hang(module: nn.Module) -> None:
    while True:
        time.sleep(1)


def _kill(module: nn.Module) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _clock(module: nn.Module) -> None:
    real = time.time
    time.time = lambda: real() - CLOCK_BACK_S


def _fill_disk(module: nn.Module) -> None:
    """Fill the disk, and free it after a while."""
    balloon = Path(_fault()["folder"]) / ".balloon"
    with balloon.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    threading.Timer(DISK_FULL_S, balloon.unlink).start()


KINDS: dict[str, Callable[[nn.Module], None]] = {
    "raise": _raise,
    "out of memory": _out_of_memory,
    "nan": _nan,
    "hang": _hang,
    "kill": _kill,
    "clock": _clock,
    "fill disk": _fill_disk,
}


def _fault() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((HERE / "fault.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def _first_to_fire(index: int) -> bool:
    try:
        (HERE / f"fired-{index}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def before_batch(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Count a training batch and trigger the faults that are due."""
    if not (module.training and torch.is_grad_enabled()):
        return
    time.sleep(SLOW_S)
    with (HERE / "batches").open("ab", buffering=0) as file:
        file.write(f"{os.getpid():>10} {time.monotonic():>20.6f}\n".encode())
        number = file.tell() // 32
    fault = _fault()
    passes = module.passes = getattr(module, "passes", 0) + 1  # type: ignore[assignment]
    if fault.get("kind") == "hang" and int(passes) <= EPOCH:
        return  # the hang limit is six times as long until a stage reports its pace
    if fault.get("rank") is not None and fault["rank"] != distributed.get_rank():
        return
    for index, at in enumerate(fault.get("at", ())):
        if number >= at and _first_to_fire(index):
            KINDS[fault["kind"]](module)


def _counted(name: str) -> None:
    build = ARCHITECTURES[name].build

    def wrapped(in_channels: int, num_classes: int, **options: Any) -> nn.Module:
        model = build(in_channels, num_classes, **options)
        model.register_forward_pre_hook(before_batch)
        return model

    ARCHITECTURES[name] = Architecture(name, wrapped, ARCHITECTURES[name].version)


_counted("resnet1d")
