"""SET and RigL: sparse training that drops weights of each layer and grows as many.

The number of weights of each layer stays the same. A weight that is dropped and grown in one update is alive before
and after it, so it keeps its value, as in RigL's released code.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from workers.training.rules.mask_rule import MaskUpdate, mask_rule

Share = Annotated[float, Field(ge=0, le=1)]


@mask_rule("set")
def set_(update: MaskUpdate, *, fraction: Share = 0.3) -> dict[str, Tensor]:
    """Drop the ``fraction`` of the positive and of the negative weights of a layer nearest to zero; grow at random.

    Mocanu et al. (2018), "Sparse evolutionary training": remove the smallest positive and the largest negative
    weights of each layer, then add as many connections at random. They do this after every epoch. An alive weight of
    exactly zero counts as positive.
    """
    masks = {}
    for name, weight in update.weights.items():
        alive, flat = update.masks[name].flatten(), weight.flatten()
        kept = alive.clone()
        for side in (alive & (flat >= 0), alive & (flat < 0)):
            kept &= ~lowest(flat.abs(), side, _whole(fraction * int(side.sum())))
        scores = torch.rand(flat.numel(), generator=update.generator(name), dtype=torch.float64).to(flat.device)
        grown = lowest(scores, ~kept, int(alive.sum()) - int(kept.sum()))
        masks[name] = (kept | grown).view_as(weight)
    return masks


@mask_rule("rigl", gradients=True)
def rigl(update: MaskUpdate, *, alpha: Share = 0.3) -> dict[str, Tensor]:
    """Drop the weights of a layer with the lowest magnitudes; grow those with the highest magnitudes of gradients.

    Evci et al. (2020), section 3 and algorithm 1. The share that is dropped decays as a cosine from ``alpha`` to 0 at
    ``update.last_step``, their T_end.
    """
    share = alpha / 2 * (1 + math.cos(math.pi * update.step / update.last_step))
    masks = {}
    for name, weight in update.weights.items():
        alive = update.masks[name].flatten()
        number = _whole(share * int(alive.sum()))
        kept = alive & ~lowest(weight.flatten().abs(), alive, number)
        grown = lowest(-update.gradients[name].flatten().abs(), ~kept, number)
        masks[name] = (kept | grown).view_as(weight)
    return masks


def lowest(scores: Tensor, among: Tensor, number: int) -> Tensor:
    """Mark the ``number`` lowest scores among some; of equal scores the first.

    Args:
        scores: finite, of shape (weights,).
        among: boolean (weights,), of which at least ``number`` are true.
    """
    marked = torch.zeros_like(among)
    order = torch.where(among, scores, torch.inf).sort(stable=True).indices
    marked[order[:number]] = True
    return marked


def _whole(number: float) -> int:
    return int(round(number, 6))  # 0.29 * 100 is 28.999…96
