"""What a transfer's parts may come from beside its own round: other rounds of the chain, and other initialisations.

round_3     the network at the end of round 3 of the same chain
epoch_0     round 0 of the same chain after so many epochs; 0 is the chain's own initialisation
init_2      the fresh initialisation that transfer seed 2 draws
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tickets.registry import Registered, Registry
from tickets.signed import SignedTensor

_NAMED = re.compile(r"(round|epoch|init)_(0|[1-9][0-9]{0,5})")


@dataclass(frozen=True)
class Origin:
    """A network that parts of a start come from.

    Attributes:
        state: its state dict.
        signed: its mask and signs; None for one that was never trained.
    """

    state: Mapping[str, Tensor]
    signed: Mapping[str, SignedTensor] | None = None


def named_source(name: str) -> tuple[str, int] | None:
    """``("round", 3)`` for "round_3"; None for what is no such name."""
    found = _NAMED.fullmatch(name)
    return (found[1], int(found[2])) if found else None


class SignedWeight(NamedTuple):
    """A prunable weight as a source of signs sees it.

    Attributes:
        fresh: the start's own initialisation.
        sign: int8 in {-1, 0, +1}, the ticket's.
        mask: bool, the ticket's.
    """

    fresh: Tensor
    sign: Tensor
    mask: Tensor


SignRule = Callable[[SignedWeight, torch.Generator], Tensor]


SIGN_SOURCES = Registry[Registered[SignRule]]("source of signs", Registered)
"""By name; ``tickets.transfers.signs`` registers them."""
