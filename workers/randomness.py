"""torch's global generators, which dropout and initialisers draw from: one thread at a time, seeded, and put back."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

_GLOBAL_GENERATORS = threading.RLock()  # theirs: packed trainings share a process, and so share them


@contextmanager
def own_generators(device: torch.device) -> Iterator[None]:
    """The global generators to oneself; afterwards they are as they were."""
    with _GLOBAL_GENERATORS, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


@contextmanager
def own_generators_if_drawn(model: nn.Module, images: Tensor) -> Iterator[bool]:
    """The global generators to oneself if a training step of this model draws from them (dropout, drop-connect).

    Yields whether it does. Found by trying: a model may call ``F.dropout`` without a module to tell.

    Args:
        images: a small batch to try with, as the model sees it.
    """
    with own_generators(images.device):
        drawn = _draws(model, images)
    with own_generators(images.device) if drawn else nullcontext():
        yield drawn


@torch.no_grad()
def _draws(model: nn.Module, images: Tensor) -> bool:
    trial = copy.deepcopy(model).train()
    before = _states(images.device)
    trial(images)
    return not all(map(torch.equal, before, _states(images.device)))


def _states(device: torch.device) -> list[Tensor]:
    states = [torch.random.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states
