"""Architectures by name. A user's own is one decorated function in a plugin file (docs/extending.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tickets import reinitialise_
from tickets.registry import Registered, Registry
from workers.devices.randomness import own_generators
from workers.stages import Model

Builder = Callable[..., nn.Module]


class Architecture(Registered[Builder]):
    """A registered architecture."""

    @property
    def build(self) -> Builder:
        """A function of (in_channels, num_classes, **options)."""
        return self.function


ARCHITECTURES = Registry("architecture", Architecture)


def architecture(name: str, *, version: int = 1) -> Callable[[Builder], Builder]:
    """Register a function of (in_channels, num_classes, **options) that returns a freshly initialised network.

    Args:
        version: raise it when the network changes, so that earlier results are not taken for the new one's.
    """

    return ARCHITECTURES.register(name, version=version)


def build_model(model: Model, *, in_channels: int, num_classes: int, init_seed: int) -> nn.Module:
    """The network with its initialisation drawn from the seed; the global generator is left as it was.

    One with a ``reset_parameters`` of its own starts as ``Ticket.apply(model, seed=init_seed)`` starts it.
    """
    options: dict[str, Any] = dict(model.options)
    with own_generators(torch.device("cpu")):
        torch.manual_seed(init_seed)
        built = ARCHITECTURES[model.name].build(in_channels=in_channels, num_classes=num_classes, **options)
        if callable(getattr(built, "reset_parameters", None)):
            reinitialise_(built, init_seed)
    return built
