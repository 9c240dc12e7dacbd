"""TurboPrune's ``model_level_N.pt``: a state dict with a buffer ``mask`` in each convolution and linear layer.

Source: TurboPrune's ``utils/mask_layers.py`` and ``utils/custom_models.py``. TurboPrune turns linear layers of
torchvision's networks into convolutions over one position, with weights of shape (out, in, 1); a ticket has (out, in).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from tickets.formats.format import Format, Hints
from tickets.formats.inference import split
from tickets.formats.naming import Naming, read_state, split_state, write_state
from tickets.formats.source import Source
from tickets.roles import Role
from tickets.ticket import Ticket

NAMING = Naming(mask="mask", masked=(Role.PRUNABLE, Role.CLASSIFIER))


def _fits(source: Source) -> bool:
    return source.kind == "torch" and bool(split_state(source.tensors, NAMING)[1])


def _read(source: Source, hints: Hints) -> Ticket:
    linear = {name: t.squeeze(-1) if t.dim() == 3 and t.shape[-1] == 1 else t for name, t in source.tensors.items()}
    return read_state(*split_state(linear, NAMING), hints, source.path)


def _write(ticket: Ticket, path: Path) -> None:
    torch.save({name: _as_turboprune(name, tensor) for name, tensor in write_state(ticket, NAMING).items()}, path)


def _as_turboprune(name: str, tensor: Tensor) -> Tensor:
    return tensor.unsqueeze(-1) if tensor.dim() == 2 and split(name)[1] in ("weight", "mask") else tensor


TURBOPRUNE = Format(
    "turboprune",
    "a state dict of TurboPrune",
    (".pt", ".pth"),
    _fits,
    _read,
    _write,
    "provenance; convolutions over one position of one dimension, which it uses for linear layers (refused); on "
    "writing, magnitudes are 1 and running statistics are missing: load with strict=False",
)
