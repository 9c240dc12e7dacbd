"""State dicts of other projects, and plain ones. Those with masks differ in the masks' names: see ``Naming``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tickets.errors import TicketError
from tickets.formats.format import Format, Hints
from tickets.formats.inference import split
from tickets.formats.naming import (
    WITHOUT_MAGNITUDES,
    Naming,
    has_masks,
    read_masked,
    read_state,
    signs_as_weights,
    write_state,
)
from tickets.formats.source import Source
from tickets.roles import Role
from tickets.ticket import Ticket

AUTHORS_NAMING = Naming(mask="fixed_m")
TORCH_PRUNE_NAMING = Naming(mask="{}_mask", parameter="{}_orig")
TURBOPRUNE_NAMING = Naming(mask="mask", masked=(Role.PRUNABLE, Role.CLASSIFIER))


AUTHORS = Format(
    "authors",
    "a checkpoint of the paper's released code",
    (".pth.tar",),
    lambda source: source.kind == "torch" and any(split(name)[1] == AUTHORS_NAMING.mask for name in source.tensors),
    partial(read_masked, AUTHORS_NAMING),
    lambda ticket, path: torch.save({"state_dict": write_state(ticket, AUTHORS_NAMING)}, path),
    f"provenance; {WITHOUT_MAGNITUDES}",
)
"""A dict with ``state_dict``; masks are float parameters ``fixed_m``.

Source: the authors' ``train.py`` and ``models/utils.py``. Pruned weights keep values, which the mask hides. The
classifier is the linear layer without ``fixed_m``.
"""

TORCH_PRUNE = Format(
    "torch-prune",
    "a state dict of torch.nn.utils.prune",
    (".pt", ".pth"),
    lambda source: has_masks(source, TORCH_PRUNE_NAMING),
    partial(read_masked, TORCH_PRUNE_NAMING),
    lambda ticket, path: torch.save(write_state(ticket, TORCH_PRUNE_NAMING), path),
    f"provenance, pruned biases (refused); {WITHOUT_MAGNITUDES}",
)
"""``weight_orig`` and ``weight_mask`` in place of ``weight``."""


def _squeezed(tensor: Tensor) -> Tensor:
    return tensor.squeeze(-1) if tensor.dim() == 3 and tensor.shape[-1] == 1 else tensor


def _write_turboprune(ticket: Ticket, path: Path) -> None:
    state = write_state(ticket, TURBOPRUNE_NAMING)
    linear = [name for name, tensor in state.items() if tensor.dim() == 2 and split(name)[1] in ("weight", "mask")]
    torch.save(state | {name: state[name].unsqueeze(-1) for name in linear}, path)


TURBOPRUNE = Format(
    "turboprune",
    "a state dict of TurboPrune",
    (".pt", ".pth"),
    lambda source: source.kind == "torch" and has_masks(source, TURBOPRUNE_NAMING),
    partial(read_masked, TURBOPRUNE_NAMING, convert=_squeezed),
    _write_turboprune,
    "provenance; convolutions over one position of one dimension, which it uses for linear layers (refused); "
    + WITHOUT_MAGNITUDES,
)
"""``model_level_N.pt``: a state dict with a buffer ``mask`` in each convolution and linear layer.

Source: TurboPrune's ``utils/mask_layers.py`` and ``utils/custom_models.py``. TurboPrune turns linear layers of
torchvision's networks into convolutions over one position, with weights of shape (out, in, 1); a ticket has (out, in).
"""


def _read_sparse(source: Source, hints: Hints) -> Ticket:
    return read_state(source.tensors, None, hints, source.path)


def _write_sparse(ticket: Ticket, path: Path) -> None:
    for name, tensor in ticket.tensors.items():
        zeros = int((tensor.mask & (tensor.sign == 0)).sum())
        if zeros and tensor.role in (Role.PRUNABLE, Role.CLASSIFIER) and tensor.sign.dim() > 1:
            raise TicketError(
                f"{name}: {zeros} surviving weights are exactly 0, which a sparse state dict would count as pruned; "
                f"write a format with masks"
            )
    state = signs_as_weights(ticket)
    if path.suffix == ".safetensors":
        save_file(state, path, {"format": "pt"})
    else:
        torch.save(state, path)


SPARSE = Format(
    "sparse",
    "a state dict in which a weight of 0 is pruned",
    (".pt", ".pth"),
    lambda source: bool(source.tensors),
    _read_sparse,
    _write_sparse,
    "provenance, surviving weights that are exactly 0 (refused; on reading they count as pruned); "
    + WITHOUT_MAGNITUDES,
)
