"""Prune the surviving weights of all layers together, by their scores."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def survivors_after(survivors: int, prune_fraction: float) -> int:
    """How many of the survivors stay: int((1 - prune_fraction) * n), without rounding errors."""
    # 1 - 0.9 is 0.0999…98: without round(), int() would drop one weight of ten
    return int(round((1 - prune_fraction) * survivors, 6))


def magnitudes(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Absolute values of the weights, detached."""
    return {name: weight.detach().abs() for name, weight in weights.items()}


@torch.no_grad()
def prune(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor], prune_fraction: float) -> dict[str, Tensor]:
    """New masks that keep the highest scores among the survivors of all layers together.

    No layer has a floor or a normalisation. Exactly ``survivors_after`` weights stay. Among equal scores the first
    stay, in the order of ``scores`` and row-major within a tensor.

    Args:
        scores: finite scores of the prunable weights by name.
        masks: boolean masks by the same names; pruned weights stay pruned.
    """
    values = torch.cat([scores[name].flatten() for name in scores])
    alive = torch.cat([masks[name].flatten() for name in scores])
    keep = survivors_after(int(alive.sum()), prune_fraction)
    ranked = torch.where(alive, values, -torch.inf)
    if keep == 0:
        kept = torch.zeros_like(alive)
    else:
        # gathering few survivors is faster than ranking all weights
        threshold = _kth_largest(ranked[alive] if 4 * keep < alive.numel() else ranked, keep)
        kept = ranked > threshold
        ties = (ranked == threshold).nonzero().squeeze(1)
        kept[ties[: keep - int(kept.sum())]] = True
    pieces = kept.split([scores[name].numel() for name in scores])
    return {name: piece.view_as(scores[name]) for name, piece in zip(scores, pieces, strict=True)}


def _kth_largest(values: Tensor, k: int) -> Tensor:
    if values.is_cuda:  # kthvalue runs in one block there, and sorting uses the whole GPU
        return values.sort().values[-k]
    return values.kthvalue(values.numel() - k + 1).values


def density(masks: Mapping[str, Tensor]) -> float:
    """Surviving fraction of the prunable weights."""
    alive = torch.stack([mask.sum() for mask in masks.values()]).sum()
    return int(alive) / sum(mask.numel() for mask in masks.values())
