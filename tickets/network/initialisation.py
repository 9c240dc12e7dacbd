"""Initialise a model from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from tickets.errors import TicketError
from tickets.network.fit import COMPILED


def reinitialise_(model: nn.Module, seed: int) -> None:
    """Draw all parameters and statistics anew from a seed, in place; torch's global generators keep their states.

    A user's class with a ``reset_parameters`` draws everything below it. All other layers are torch's and draw
    themselves, whatever a constructor did to them afterwards: see ``check_redrawable``. Raises as ``reset_layers``.
    """
    with _seeded(model, seed):
        reset = getattr(model, "reset_parameters", None)
        if callable(reset):
            reset()
        else:
            reset_layers(model)


def reset_layers(model: nn.Module) -> None:
    """Draw each layer of a model anew by the layer's own initialisation, in the order of ``model.modules()``.

    A user's class with a ``reset_parameters`` counts as one layer, with everything below it, and so does torch's
    attention. ValueError if a layer has parameters and no ``reset_parameters``.
    """
    drawn: set[nn.Module] = set()
    for name, module in model.named_modules():
        if module in drawn:
            continue
        if isinstance(module, nn.MultiheadAttention):
            _reset_attention(module)
            drawn.update(module.modules())
            continue
        if (module is model and next(module.children(), None) is not None) or COMPILED in module._modules:
            continue
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
            if _draws_all_below(module):
                drawn.update(module.modules())
        elif next(module.parameters(recurse=False), None) is not None:
            raise ValueError(
                f"{name}: a {type(module).__name__} has parameters but no reset_parameters(), so it cannot be "
                f"drawn anew; give the class that method, or initialise the model yourself and leave seed out"
            )


def _reset_attention(attention: nn.MultiheadAttention) -> None:
    """Draw attention as its constructor does, which has no public name."""
    attention.out_proj.reset_parameters()
    attention._reset_parameters()


def check_redrawable(model: nn.Module, seed: int) -> None:
    """Raise TicketError if a constructor may have initialised the model, which cannot be repeated.

    So it is if a class outside torch.nn, and all modules above it, lack a ``reset_parameters``.
    """
    accepted: set[nn.Module] = set()
    for name, module in model.named_modules():
        if module in accepted or COMPILED in module._modules or next(module.parameters(), None) is None:
            continue
        if _draws_all_below(module):
            accepted.update(module.modules())
        elif not _of_torch(type(module)):
            raise TicketError(
                f"{name or 'the model'}: a {type(module).__name__} initialises in its constructor, and has no "
                f"reset_parameters() of its own to draw it anew; build the model under torch.manual_seed({seed}) and "
                f"leave seed out, or give the class a reset_parameters()"
            )


def _draws_all_below(module: nn.Module) -> bool:
    """Whether a user's class defines the module's ``reset_parameters``."""
    definer = next((each for each in type(module).__mro__ if "reset_parameters" in vars(each)), None)
    return definer is not None and not _of_torch(definer)


def _of_torch(kind: type) -> bool:
    return f"{kind.__module__}.".startswith("torch.nn.")


@contextmanager
def _seeded(model: nn.Module, seed: int) -> Iterator[None]:
    # torch.manual_seed would seed all GPUs of the machine, permanently, and so alike on all ranks
    gpus = sorted({parameter.device.index for parameter in model.parameters() if parameter.is_cuda})
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            torch.cuda.default_generators[gpu].manual_seed(seed)
        yield
