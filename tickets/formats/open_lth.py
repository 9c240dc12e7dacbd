"""open_lth's folder of a level: ``mask.pth`` (0 and 1 in int32 by name) and ``model_ep{epochs}_it{steps}.pth``.

Source: open_lth's ``pruning/mask.py``, ``foundations/paths.py`` and ``models/base.py``. The signs are those of the
last step's model. The classifier has a mask too. A mask alone needs a state dict as a hint.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch

from tickets.errors import TicketError
from tickets.formats.format import Format, Hints, NeedsHintError
from tickets.formats.inference import split
from tickets.formats.naming import WITHOUT_MAGNITUDES, read_state, signs_as_weights
from tickets.formats.source import Source
from tickets.roles import Role
from tickets.ticket import Ticket

MASK, MODEL = "mask.pth", "model_ep0_it0.pth"
_STEP = re.compile(r"model_ep(\d+)_it(\d+)\.pth")


def _fits(source: Source) -> bool:
    if source.kind == "folder":
        return (source.path / MASK).is_file()
    return source.kind == "torch" and all(
        not t.is_floating_point() and bool(((t == 0) | (t == 1)).all()) for t in source.tensors.values()
    )


def _read(source: Source, hints: Hints) -> Ticket:
    folder = source.kind == "folder"
    masks = Source(source.path / MASK).tensors if folder else source.tensors
    weights = hints.weights or (_last_model(source.path) if folder else None)
    if weights is None:
        raise NeedsHintError(f"{source.path} has masks but no signs; name a state dict with --weights")
    state = Source(weights).tensors
    unknown = sorted(set(masks) - set(state))
    if unknown:
        raise TicketError(f"{weights} lacks {unknown[0]}, of which {source.path} has a mask")
    return read_state(state, masks, hints, source.path)


def _last_model(folder: Path) -> Path | None:
    steps = {path: match for path in folder.iterdir() if (match := _STEP.fullmatch(path.name))}
    return max(steps, key=lambda path: tuple(map(int, steps[path].groups())), default=None)


def _write(ticket: Ticket, path: Path) -> None:
    masked = (Role.PRUNABLE, Role.CLASSIFIER)
    masks = {n: t.mask.int() for n, t in ticket.tensors.items() if t.role in masked and split(n)[1] == "weight"}
    path.mkdir()
    torch.save(masks, path / MASK)
    torch.save(signs_as_weights(ticket), path / MODEL)


OPEN_LTH = Format(
    "open-lth",
    "open_lth's folder of a level, or its mask.pth with --weights",
    ("",),
    _fits,
    _read,
    _write,
    f"provenance; {WITHOUT_MAGNITUDES}",
)
