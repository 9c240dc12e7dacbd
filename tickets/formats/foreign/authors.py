"""Checkpoints of the paper's released code: a dict with ``state_dict``; masks are float parameters ``fixed_m``.

Source: the authors' ``train.py`` and ``models/utils.py``. Pruned weights keep values, which the mask hides. The
classifier is the linear layer without ``fixed_m``.
"""

from __future__ import annotations

from pathlib import Path

import torch

from tickets.formats.format import Format, Hints
from tickets.formats.naming import Naming, read_state, split_state, write_state
from tickets.formats.source import Source
from tickets.ticket import Ticket

NAMING = Naming(mask="fixed_m")


def _fits(source: Source) -> bool:
    return source.kind == "torch" and any(name.rpartition(".")[2] == NAMING.mask for name in source.tensors)


def _read(source: Source, hints: Hints) -> Ticket:
    return read_state(*split_state(source.tensors, NAMING), hints, source.path)


def _write(ticket: Ticket, path: Path) -> None:
    torch.save({"state_dict": write_state(ticket, NAMING)}, path)


AUTHORS = Format(
    "authors",
    "a checkpoint of the paper's released code",
    (".pth.tar",),
    _fits,
    _read,
    _write,
    "provenance; on writing, magnitudes are 1 and running statistics are missing: load with strict=False",
)
