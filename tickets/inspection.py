"""Summarise a ticket in numbers, and list its inconsistencies."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import Any

from tickets.roles import Role
from tickets.ticket import Ticket


def summary(ticket: Ticket) -> dict[str, Any]:
    """Counts and shares that JSON can hold.

    Returns:
        ``alive``, ``weights`` and ``density`` of all prunable weights; and ``tensors``, a list with each tensor's
        ``name``, ``shape``, ``role``, ``weights``, ``alive``, ``density`` and ``positive_share`` (of the weights with a
        sign). A share of zero weights is None.
    """
    alive, weights = ticket.weight_counts
    tensors = [
        {
            "name": name,
            "shape": list(tensor.sign.shape),
            "role": tensor.role.value,
            "weights": tensor.mask.numel(),
            "alive": int(tensor.mask.sum()),
            "density": _share(int(tensor.mask.sum()), tensor.mask.numel()),
            "positive_share": _share(int((tensor.sign > 0).sum()), int((tensor.sign != 0).sum())),
        }
        for name, tensor in ticket.tensors.items()
    ]
    return {"alive": alive, "weights": weights, "density": _share(alive, weights), "tensors": tensors}


def faults(ticket: Ticket) -> list[str]:
    """Faults of a ticket, each as a sentence; none for a consistent ticket.

    ``SignedTensor`` has checked values, shapes, signs and masks. Checked here: only prunable weights are pruned, the
    ticket has some, and its provenance is true.
    """
    sentences = [
        f"{name}: {int((~tensor.mask).sum())} weights are pruned, and a {tensor.role} tensor is never pruned"
        for name, tensor in ticket.tensors.items()
        if tensor.role is not Role.PRUNABLE and not tensor.mask.all()
    ]
    claims = asdict(ticket.provenance)
    alive, weights = ticket.weight_counts
    for name in ("dataset", "architecture", "method", "preset", "stage_key"):
        if not isinstance(claims[name], str):
            sentences.append(f"its provenance has {claims[name]!r} for {name}, which is no text")
    round_, density = claims["round"], claims["density"]
    if round_ is not None and (not isinstance(round_, int) or round_ < 0):
        sentences.append(f"its provenance has {round_!r} for round, which is not a whole number from 0")
    if not weights:
        sentences.append("it has no prunable weight")
    elif not isinstance(density, int | float) or not isfinite(density) or abs(density * weights - alive) >= 0.5:
        sentences.append(f"its provenance claims density {density!r}, but {alive} of {weights} weights survive")
    return sentences


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
