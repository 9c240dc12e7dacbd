"""Masks that no weight has a say in: the floor that every other criterion is measured against."""

from __future__ import annotations

import torch
from torch import Tensor

from workers.pruning.criteria.registry import Candidate, criterion


@criterion("random")
def random(candidate: Candidate) -> dict[str, Tensor]:
    """Uniform draws: every weight has the same chance."""
    return {
        name: torch.rand(mask.shape, generator=candidate.generator(name)).to(mask.device)
        for name, mask in candidate.masks.items()
    }


@criterion("erk")
def erk(candidate: Candidate) -> dict[str, Tensor]:
    """Random within each layer, at Erdős-Rényi-kernel densities (Evci et al. 2020, section 3)."""
    densities = erk_densities({name: tuple(mask.shape) for name, mask in candidate.masks.items()}, candidate.density)
    found = {}
    for name, mask in candidate.masks.items():
        draws = torch.rand(mask.numel(), generator=candidate.generator(name), dtype=torch.float64).to(mask.device)
        # ranks from 1 / n to 1, the dead lowest: the layer's own share of them is above zero
        ranks = torch.where(mask.flatten(), draws, -1.0).argsort().argsort().add(1).double() / mask.numel()
        found[name] = (ranks - (1 - densities[name])).view_as(mask)
    return found


def erk_densities(shapes: dict[str, tuple[int, ...]], density: float) -> dict[str, float]:
    """Density of each layer, proportional to the sum of its shape's dimensions over their product, and at most 1.

    Layers that would be denser than 1 are left whole, and the others share what remains.

    Args:
        shapes: of the weights by name.
        density: of all of them together.
    """
    sizes = {name: torch.Size(shape).numel() for name, shape in shapes.items()}
    raw = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
    whole: set[str] = set()
    while True:
        left = density * sum(sizes.values()) - sum(sizes[name] for name in whole)
        weight = sum(raw[name] * sizes[name] for name in raw if name not in whole)
        scale = max(left, 0.0) / weight if weight else 0.0
        beyond = {name for name in raw if name not in whole and scale * raw[name] > 1}
        if not beyond:
            return {name: 1.0 if name in whole else scale * raw[name] for name in raw}
        whole |= beyond
