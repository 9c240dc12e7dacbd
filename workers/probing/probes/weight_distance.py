"""Distance between two solutions in the space of their weights."""

from __future__ import annotations

import torch

from workers.probing.probes.registry import Pair, probe


@probe("weight_distance")
def weight_distance(pair: Pair) -> dict[str, float]:
    """Weight distance: Euclidean distance between the prunable weights, and the cosine of their angle."""
    sums = torch.zeros(4, dtype=torch.float64, device=pair.splits.device)
    for a, b in pair.weights:
        u, v = a.double(), b.double()
        sums += torch.stack(((u - v).square().sum(), (u * v).sum(), u.square().sum(), v.square().sum()))
    apart, inner, length_a, length_b = sums.tolist()
    lengths = (length_a * length_b) ** 0.5
    return {"l2": apart**0.5, "cosine": inner / lengths if lengths else 0.0}
