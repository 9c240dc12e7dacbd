"""Random pruning: criteria that ignore the weights, as baselines for all others."""

from __future__ import annotations

import torch
from torch import Tensor

from workers.pruning.criteria.registry import Candidate, criterion


@criterion("random")
def random(candidate: Candidate) -> dict[str, Tensor]:
    """Random pruning: uniform scores."""
    return {
        name: torch.rand(mask.shape, generator=candidate.generator(name)).to(mask.device)
        for name, mask in candidate.masks.items()
    }


@criterion("erk")
def erk(candidate: Candidate) -> dict[str, Tensor]:
    """ERK pruning: random within each layer, at Erdős-Rényi-kernel densities (Evci et al. 2020, section 3)."""
    densities = erk_densities({name: tuple(mask.shape) for name, mask in candidate.masks.items()}, candidate.density)
    scores = {}
    for name, mask in candidate.masks.items():
        draws = torch.rand(mask.numel(), generator=candidate.generator(name), dtype=torch.float64).to(mask.device)
        # ranks from 1 / n to 1, dead weights lowest; scores are above zero for the share that the layer keeps
        ranks = torch.where(mask.flatten(), draws, -1.0).argsort().argsort().add(1).double() / mask.numel()
        scores[name] = (ranks - (1 - densities[name])).view_as(mask)
    return scores


def erk_densities(shapes: dict[str, tuple[int, ...]], density: float) -> dict[str, float]:
    """Density of each layer: proportional to the sum of its weight's dimensions over their product, at most 1.

    Layers that would exceed 1 stay whole, and the other layers share the remaining weights.

    Args:
        shapes: shape of each weight by name.
        density: density of all layers together.
    """
    sizes = {name: torch.Size(shape).numel() for name, shape in shapes.items()}
    raw = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
    whole: set[str] = set()
    while True:
        remaining = density * sum(sizes.values()) - sum(sizes[name] for name in whole)
        total = sum(raw[name] * sizes[name] for name in raw if name not in whole)
        scale = max(remaining, 0.0) / total if total else 0.0
        beyond = {name for name in raw if name not in whole and scale * raw[name] > 1}
        if not beyond:
            return {name: 1.0 if name in whole else scale * raw[name] for name in raw}
        whole |= beyond
