"""A model's initialisation as a function of a seed."""

from __future__ import annotations

import torch
from torch import nn

from tickets.fit import COMPILED


def reinitialise_(model: nn.Module, seed: int) -> None:
    """Draw all parameters and statistics anew from a seed, in place; the global generator is left as it was.

    A model's own ``reset_parameters`` is used where it has one; give a network one if its initialisation is not that of
    its layers, which is what is drawn otherwise.

    Raises:
        ValueError: a layer has parameters and no way to draw them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        own = getattr(model, "reset_parameters", None)
        if callable(own):
            own()
        else:
            reset_layers(model)


def reset_layers(model: nn.Module) -> None:
    """Draw every layer below a model anew by the layer's own initialisation, in the order of ``model.modules()``.

    Raises:
        ValueError: a layer has parameters and no way to draw them.
    """
    for name, module in model.named_modules():
        if (module is model and next(module.children(), None) is not None) or COMPILED in module._modules:
            continue
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        elif next(module.parameters(recurse=False), None) is not None:
            raise ValueError(
                f"{name}: a {type(module).__name__} has parameters but no reset_parameters(), so it cannot be "
                f"drawn anew; give it that method, or initialise the model yourself and leave seed out"
            )
