"""State dicts of torch.nn.utils.prune, with ``weight_orig`` and ``weight_mask`` in place of ``weight``."""

from __future__ import annotations

from pathlib import Path

import torch

from tickets.formats.format import Format, Hints
from tickets.formats.naming import Naming, read_state, split_state, write_state
from tickets.formats.source import Source
from tickets.ticket import Ticket

NAMING = Naming(mask="{}_mask", parameter="{}_orig")


def _fits(source: Source) -> bool:
    return bool(split_state(source.tensors, NAMING)[1])


def _read(source: Source, hints: Hints) -> Ticket:
    return read_state(*split_state(source.tensors, NAMING), hints, source.path)


def _write(ticket: Ticket, path: Path) -> None:
    torch.save(write_state(ticket, NAMING), path)


TORCH_PRUNE = Format(
    "torch-prune",
    "a state dict of torch.nn.utils.prune",
    (".pt", ".pth"),
    _fits,
    _read,
    _write,
    "provenance, pruned biases (refused); on writing, magnitudes are 1 and running statistics are missing: load with "
    "strict=False",
)
