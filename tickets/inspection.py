"""Summarise a ticket in numbers, and list what is inconsistent in it."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import Any

from tickets.roles import Role
from tickets.ticket import Ticket


def summary(ticket: Ticket) -> dict[str, Any]:
    """Counts and shares, as JSON can hold them.

    Returns:
        ``alive``, ``weights`` and ``density`` of all prunable weights, and ``tensors``: of each the ``name``,
        ``shape``, ``role``, ``weights``, ``alive``, ``density`` and ``positive_share`` (of the weights with a sign). A
        share of nothing is None.
    """
    masks = ticket.masks.values()
    alive, weights = sum(int(mask.sum()) for mask in masks), sum(mask.numel() for mask in masks)
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
    """Each fault as a sentence that names the tensor; none for a ticket that is consistent.

    That values, shapes, signs and masks fit is certain for a ticket that exists (see ``SignedTensor``). Here: only
    weights are pruned, there are some, and the provenance claims what is there.
    """
    found = [
        f"{name}: {int((~tensor.mask).sum())} of it are pruned, and a {tensor.role} tensor never is"
        for name, tensor in ticket.tensors.items()
        if tensor.role is not Role.PRUNABLE and not tensor.mask.all()
    ]
    claims = asdict(ticket.provenance)
    for name in ("dataset", "architecture", "method", "preset", "stage_key"):
        if not isinstance(claims[name], str):
            found.append(f"its provenance has {claims[name]!r} for {name}, which is no text")
    round_, density = claims["round"], claims["density"]
    if round_ is not None and (not isinstance(round_, int) or round_ < 0):
        found.append(f"its provenance has {round_!r} for round, which is no number of a round")
    weights = sum(mask.numel() for mask in ticket.masks.values())
    alive = sum(int(mask.sum()) for mask in ticket.masks.values())
    if not weights:
        found.append("it has no prunable weight")
    elif not isinstance(density, int | float) or not isfinite(density) or abs(density * weights - alive) >= 0.5:
        found.append(f"its provenance claims density {density!r}, and {alive} of {weights} weights survive")
    return found


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
