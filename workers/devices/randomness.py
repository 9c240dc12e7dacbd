"""torch's global generators, which dropout and initialisers draw from: one thread at a time, seeded, and put back."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# packed trainings share a process, and so share the generators
_GLOBAL_GENERATORS = threading.RLock()  # held for as long as a sequence of draws must not be disturbed
_DEVICE_DRAWS = threading.RLock()  # held for single draws on a device, which a capture in another thread would break


@contextmanager
def own_generators(device: torch.device) -> Iterator[None]:
    """The global generators to oneself; afterwards they are as they were."""
    with _GLOBAL_GENERATORS, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


@contextmanager
def device_draws() -> Iterator[None]:
    """No other thread captures a CUDA graph, or draws on a GPU, meanwhile."""
    with _DEVICE_DRAWS:
        yield


@dataclass(frozen=True)
class Draws:
    """Which global generators a training step draws from: the CPU's, or its GPU's."""

    cpu: bool
    gpu: bool

    @property
    def any(self) -> bool:
        """Whether it draws at all."""
        return self.cpu or self.gpu


@contextmanager
def own_generators_if_drawn(model: nn.Module, images: Tensor) -> Iterator[Draws]:
    """The global generators to oneself if a training step of this model draws from them (dropout, drop-connect).

    Found by trying: a model may call ``F.dropout`` without a module to tell.

    Args:
        images: a small batch to try with, as the model sees it.
    """
    with own_generators(images.device), device_draws():
        draws = _draws(model, images)
    with own_generators(images.device) if draws.any else nullcontext():
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
