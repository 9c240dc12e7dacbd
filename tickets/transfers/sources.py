"""Sources of a transfer's parts besides the ticket's own round: other rounds of the chain, and initialisations.

round_3     the network at the end of round 3 of the same chain
epoch_5     round 0 of the same chain after 5 epochs; epoch_0 is the chain's own initialisation
init_2      the fresh initialisation of transfer seed 2
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
        state: the state dict.
        signed: masks and signs by name; None for a network without a ticket, such as an initialisation.
    """

    state: Mapping[str, Tensor]
    signed: Mapping[str, SignedTensor] | None = None


def named_source(name: str) -> tuple[str, int] | None:
    """``("round", 3)`` for "round_3"; None for any other name."""
    match = _NAMED.fullmatch(name)
    return (match[1], int(match[2])) if match else None


class SignedWeight(NamedTuple):
    """A prunable weight as a sign source sees it.

    Attributes:
        fresh: the start's own initialisation.
        sign: the ticket's signs, int8 in {-1, 0, +1}.
        mask: the ticket's mask, bool.
    """

    fresh: Tensor
    sign: Tensor
    mask: Tensor


SignRule = Callable[[SignedWeight, torch.Generator], Tensor]


SIGN_SOURCES = Registry[Registered[SignRule]]("sign source", Registered)
"""Sign sources by name; ``tickets.sign_source`` registers one."""
