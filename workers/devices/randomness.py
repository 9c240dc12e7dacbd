"""torch's global generators, from which dropout and initialisers draw: used by one thread at a time, then restored."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

BEAT_S = 1.0

# packed trainings share a process, and so its generators
_GLOBAL_GENERATORS = threading.RLock()  # held during a whole sequence of draws
_DEVICE_DRAWS = threading.RLock()  # held during single draws on a device, which a capture in another thread would break


def no_beat() -> None:
    """Nobody waits to hear from this thread."""


@contextmanager
def exclusive_generators(device: torch.device, beat: Callable[[], None] = no_beat) -> Iterator[None]:
    """Use the global generators alone; restore them at the end of the block.

    Args:
        beat: called every second of the wait for other threads, which may last as long as their trainings; its
            exceptions end the wait.
    """
    while not _GLOBAL_GENERATORS.acquire(timeout=BEAT_S):
        beat()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        _GLOBAL_GENERATORS.release()


@contextmanager
def device_draws() -> Iterator[None]:
    """Keep other threads from capturing a CUDA graph or drawing on a GPU during the block."""
    with _DEVICE_DRAWS:
        yield


@dataclass(frozen=True)
class Draws:
    """Whether a training step draws from the global generator of the CPU, and from that of its GPU."""

    cpu: bool
    gpu: bool

    @property
    def any(self) -> bool:
        """Whether the step draws at all."""
        return self.cpu or self.gpu


@contextmanager
def exclusive_generators_if_drawn(
    model: nn.Module, images: Tensor, beat: Callable[[], None] = no_beat
) -> Iterator[Draws]:
    """Use the global generators alone if a training step of this model draws from them (dropout, drop-connect).

    A trial step decides: a model may call ``F.dropout`` without having a module for it.

    Args:
        images: a small normalised batch for the trial step.
        beat: see ``exclusive_generators``.
    """
    with exclusive_generators(images.device, beat), device_draws():
        draws = _draws(model, images)
    with exclusive_generators(images.device, beat) if draws.any else nullcontext():
        yield draws


@torch.no_grad()
def _draws(model: nn.Module, images: Tensor) -> Draws:
    trial = copy.deepcopy(model).train()
    before = _states(images.device)
    trial(images)
    moved = [not torch.equal(a, b) for a, b in zip(before, _states(images.device), strict=True)]
    return Draws(moved[0], any(moved[1:]))


def _states(device: torch.device) -> list[Tensor]:
    states = [torch.random.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states
