"""Sign sources: rules that give signs to a prunable weight. docs/extending.md shows how to add one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from tickets.transfers.sources import SIGN_SOURCES, SignedWeight, SignRule
from tickets.transfers.transfer import SIGNED, TRANSFERS


def sign_source(name: str, *, version: int = 1) -> Callable[[SignRule], SignRule]:
    """Register a function that gives signs to a prunable weight: int8 in {-1, 0, +1}, of its shape and on its device.

    The function is called for one weight after another, with one CPU generator for all. It also registers the transfer
    ``{name}_signs``, the signed transfer with these signs; other transfers may name the source too.

    Args:
        version: raise it when the signs change, so that earlier results are not taken for new ones.
    """

    def register(rule: SignRule) -> SignRule:
        TRANSFERS[f"{name}_signs"] = replace(SIGNED, signs=name)
        return SIGN_SOURCES.register(name, version=version)(rule)

    return register


@sign_source("random")
def random_signs(weight: SignedWeight, generator: torch.Generator) -> Tensor:
    """Independent uniform signs."""
    drawn = torch.randint(0, 2, weight.sign.shape, generator=generator, dtype=torch.int8)
    return drawn.to(weight.sign.device) * 2 - 1
