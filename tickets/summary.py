"""A ticket in numbers: how much survives, in all and tensor by tensor."""

from __future__ import annotations

from typing import Any

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


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
