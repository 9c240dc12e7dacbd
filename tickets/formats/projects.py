"""Formats of other projects, and plain state dicts."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tickets.errors import TicketError
from tickets.formats import state_dict
from tickets.formats.format import Format, Hints
from tickets.formats.source import NeedsHintError, Source
from tickets.formats.state_dict import split
from tickets.roles import Role
from tickets.ticket import Ticket

AUTHORS_NAMING = state_dict.Naming(mask="fixed_m")
TORCH_PRUNE_NAMING = state_dict.Naming(mask="{}_mask", parameter="{}_orig")
TURBOPRUNE_NAMING = state_dict.Naming(mask="mask", masked=(Role.PRUNABLE, Role.CLASSIFIER))
MASK, MODEL = "mask.pth", "model_ep0_it0.pth"
_STEP = re.compile(r"model_ep(\d+)_it(\d+)\.pth")


AUTHORS = Format(
    "authors",
    "a checkpoint of the paper's released code",
    (".pth.tar",),
    lambda source: source.kind == "torch" and any(split(name)[1] == AUTHORS_NAMING.mask for name in source.tensors),
    partial(state_dict.read_masked, AUTHORS_NAMING),
    lambda ticket, path, statistics: torch.save(
        {"state_dict": state_dict.write_state(ticket, statistics, AUTHORS_NAMING)}, path
    ),
    f"provenance; {state_dict.WITHOUT_MAGNITUDES}",
    known_names=True,
    trained=partial(state_dict.trained_values, AUTHORS_NAMING),
)
"""A dict with ``state_dict``; masks are float parameters ``fixed_m``.

Source: the authors' ``train.py`` and ``models/utils.py``. Pruned weights keep values, which the mask hides. The
classifier is the linear layer without ``fixed_m``.
"""

TORCH_PRUNE = Format(
    "torch-prune",
    "a state dict of torch.nn.utils.prune",
    (".pt", ".pth"),
    lambda source: state_dict.has_masks(source, TORCH_PRUNE_NAMING),
    partial(state_dict.read_masked, TORCH_PRUNE_NAMING),
    lambda ticket, path, statistics: torch.save(state_dict.write_state(ticket, statistics, TORCH_PRUNE_NAMING), path),
    f"provenance, pruned biases (refused); {state_dict.WITHOUT_MAGNITUDES}",
    trained=partial(state_dict.trained_values, TORCH_PRUNE_NAMING),
)
"""``weight_orig`` and ``weight_mask`` in place of ``weight``."""


def _squeezed(tensor: Tensor) -> Tensor:
    return tensor.squeeze(-1) if tensor.dim() == 3 and tensor.shape[-1] == 1 else tensor


def _write_turboprune(ticket: Ticket, path: Path, statistics: Collection[str]) -> None:
    state = state_dict.write_state(ticket, statistics, TURBOPRUNE_NAMING)
    linear = [name for name, tensor in state.items() if tensor.dim() == 2 and split(name)[1] in ("weight", "mask")]
    torch.save(state | {name: state[name].unsqueeze(-1) for name in linear}, path)


TURBOPRUNE = Format(
    "turboprune",
    "a state dict of TurboPrune",
    (".pt", ".pth"),
    lambda source: source.kind == "torch" and state_dict.has_masks(source, TURBOPRUNE_NAMING),
    partial(state_dict.read_masked, TURBOPRUNE_NAMING, convert=_squeezed),
    _write_turboprune,
    "provenance; convolutions over one position of one dimension, which it uses for linear layers (refused); "
    + state_dict.WITHOUT_MAGNITUDES,
    trained=partial(state_dict.trained_values, TURBOPRUNE_NAMING, convert=_squeezed),
)
"""``model_level_N.pt``: a state dict with a buffer ``mask`` in each convolution and linear layer.

Source: TurboPrune's ``utils/mask_layers.py`` and ``utils/custom_models.py``. TurboPrune turns linear layers of
torchvision's networks into convolutions over one position, with weights of shape (out, in, 1); a ticket has (out, in).
"""


def _fits_open_lth(source: Source) -> bool:
    if source.kind == "folder":
        return (source.path / MASK).is_file()
    return source.kind == "torch" and all(
        not t.is_floating_point() and bool(((t == 0) | (t == 1)).all()) for t in source.tensors.values()
    )


def _read_open_lth(source: Source, hints: Hints) -> Ticket:
    folder = source.kind == "folder"
    masks = Source(source.path / MASK).tensors if folder else source.tensors
    weights = hints.weights or (_last_model(source.path) if folder else None)
    if weights is None:
        raise NeedsHintError(f"{source.path} has masks but no signs; name a state dict with --weights")
    state = Source(weights, hints.state if hints.weights else None).tensors
    unknown = sorted(set(masks) - set(state))
    if unknown:
        raise TicketError(f"{weights} lacks {unknown[0]}, of which {source.path} has a mask")
    return state_dict.read_state(state, masks, hints, source.path)


def _last_model(folder: Path) -> Path | None:
    steps = {path: match for path in folder.iterdir() if (match := _STEP.fullmatch(path.name))}
    return max(steps, key=lambda path: tuple(map(int, steps[path].groups())), default=None)


def _write_open_lth(ticket: Ticket, path: Path, statistics: Collection[str]) -> None:
    masked = (Role.PRUNABLE, Role.CLASSIFIER)
    masks = {n: t.mask.int() for n, t in ticket.tensors.items() if t.role in masked and state_dict.is_weight(n)}
    path.mkdir()
    torch.save(masks, path / MASK)
    torch.save(state_dict.signs_as_weights(ticket, statistics), path / MODEL)


OPEN_LTH = Format(
    "open-lth",
    "open_lth's folder of a level, or its mask.pth with --weights",
    ("",),
    _fits_open_lth,
    _read_open_lth,
    _write_open_lth,
    f"provenance; {state_dict.WITHOUT_MAGNITUDES}",
)
"""``mask.pth`` (0 and 1 in int32 by name) and ``model_ep{epochs}_it{steps}.pth``.

Source: open_lth's ``pruning/mask.py``, ``foundations/paths.py`` and ``models/base.py``. The signs are those of the
last step's model. The classifier has a mask too. A mask alone needs a state dict as a hint.
"""


def _read_sparse(source: Source, hints: Hints) -> Ticket:
    return state_dict.read_state(source.tensors, None, hints, source.path)


def _write_sparse(ticket: Ticket, path: Path, statistics: Collection[str]) -> None:
    for name, tensor in ticket.tensors.items():
        zeros = int((tensor.mask & (tensor.sign == 0)).sum())
        if zeros and tensor.role in (Role.PRUNABLE, Role.CLASSIFIER) and tensor.sign.dim() > 1:
            raise TicketError(
                f"{name}: {zeros} surviving weights are exactly 0, which a sparse state dict would count as pruned; "
                f"write a format with masks"
            )
    state = state_dict.signs_as_weights(ticket, statistics)
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
    + state_dict.WITHOUT_MAGNITUDES,
    trained=lambda source: source.tensors,
)
