"""A model's initialisation as a function of a seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from tickets.errors import TicketError
from tickets.network.wrappers import COMPILED


def reinitialise_(model: nn.Module, seed: int) -> None:
    """Draw all parameters and statistics anew from a seed, in place; torch's global generators are left as they were.

    A class of one's own draws all that is below it by its ``reset_parameters``. What is below none is drawn by torch's
    layers themselves, whatever a constructor did to them: see ``check_redrawable``.

    Raises:
        ValueError: a layer has parameters and no way to draw them.
    """
    with _seeded(model, seed):
        own = getattr(model, "reset_parameters", None)
        if callable(own):
            own()
        else:
            reset_layers(model)


def reset_layers(model: nn.Module) -> None:
    """Draw every layer below a model anew by the layer's own initialisation, in the order of ``model.modules()``.

    Below the model, a class of one's own with a ``reset_parameters`` is one layer, with all that is in it.

    Raises:
        ValueError: a layer has parameters and no way to draw them.
    """
    drawn: set[nn.Module] = set()
    for name, module in model.named_modules():
        if (module is model and next(module.children(), None) is not None) or COMPILED in module._modules:
            continue
        if module in drawn:
            continue
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
            if _draws_all_below(module):
                drawn.update(module.modules())
        elif next(module.parameters(recurse=False), None) is not None:
            raise ValueError(
                f"{name}: a {type(module).__name__} has parameters but no reset_parameters(), so it cannot be "
                f"drawn anew; give it that method, or initialise the model yourself and leave seed out"
            )


def check_redrawable(model: nn.Module, seed: int) -> None:
    """Refuse a model that may have initialised itself in a constructor, which nothing can repeat.

    Raises:
        TicketError: a class that is not of torch.nn has neither a ``reset_parameters`` nor a module above it that has.
    """
    known: set[nn.Module] = set()
    for name, module in model.named_modules():
        if module in known or COMPILED in module._modules or next(module.parameters(), None) is None:
            continue
        if _draws_all_below(module):
            known.update(module.modules())
        elif not _of_torch(type(module)):
            raise TicketError(
                f"{name or 'the model'}: a {type(module).__name__} initialises in its constructor, and has no "
                f"reset_parameters() of its own to draw it anew; build the model under torch.manual_seed({seed}) and "
                f"leave seed out, or give the class that method"
            )


def _draws_all_below(module: nn.Module) -> bool:
    """Whether the class itself, or one of one's own that it derives from, says how it is drawn."""
    says = next((each for each in type(module).__mro__ if "reset_parameters" in vars(each)), None)
    return says is not None and not _of_torch(says)


def _of_torch(kind: type) -> bool:
    return f"{kind.__module__}.".startswith("torch.nn.")


@contextmanager
def _seeded(model: nn.Module, seed: int) -> Iterator[None]:
    """The generators that a model's initialisation draws from, seeded, and then as they were.

    Not ``torch.manual_seed``, which seeds all GPUs there are for good, and so alike on all ranks.
    """
    gpus = sorted({parameter.device.index for parameter in model.parameters() if parameter.is_cuda})
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            torch.cuda.default_generators[gpu].manual_seed(seed)
        yield
