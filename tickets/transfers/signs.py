"""Signs by a rule, neither a ticket's nor a network's. A user's own is one decorated function (docs/extending.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from tickets.transfers.sources import SIGN_SOURCES, SignedWeight, SignRule
from tickets.transfers.transfer import SIGNED, TRANSFERS


def sign_source(name: str, *, version: int = 1) -> Callable[[SignRule], SignRule]:
    """Register a function that gives signs to a prunable weight: int8 in {-1, 0, +1}, of its shape and on its device.

    It is called for one weight after another, with a CPU generator for all of them. Any transfer may name it as the
    source of its signs, and one does from now on: ``{name}_signs``, the signed transfer with these signs.

    Args:
        version: raise it when the signs change, so that earlier results are not taken for the new one's.
    """

    def register(rule: SignRule) -> SignRule:
        TRANSFERS[f"{name}_signs"] = replace(SIGNED, signs=name)
        return SIGN_SOURCES.register(name, version=version)(rule)

    return register


@sign_source("random")
def random_signs(weight: SignedWeight, generator: torch.Generator) -> Tensor:
    """Every sign by the toss of a coin."""
    drawn = torch.randint(0, 2, weight.sign.shape, generator=generator, dtype=torch.int8)
    return drawn.to(weight.sign.device) * 2 - 1
