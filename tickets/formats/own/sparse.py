"""Plain state dicts by torch.save or as safetensors: a weight is pruned if and only if it is 0."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from tickets.errors import TicketError
from tickets.formats.format import Format, Hints
from tickets.formats.naming import read_state, signs_as_weights
from tickets.formats.source import Source
from tickets.roles import Role
from tickets.ticket import Ticket


def _fits(source: Source) -> bool:
    return bool(source.tensors)


def _read(source: Source, hints: Hints) -> Ticket:
    return read_state(source.tensors, None, hints, source.path)


def _write(ticket: Ticket, path: Path) -> None:
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
    _fits,
    _read,
    _write,
    "provenance, surviving weights that are exactly 0 (refused; on reading they count as pruned); on writing, "
    "magnitudes are 1 and running statistics are missing: load with strict=False",
)
