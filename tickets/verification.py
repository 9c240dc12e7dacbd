"""What is wrong with a ticket that could be read."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite

from tickets.roles import Role
from tickets.ticket import Ticket


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
