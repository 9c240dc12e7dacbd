"""Magnitude pruning, the paper's criterion."""

from __future__ import annotations

from torch import Tensor

from workers.pruning.criteria.registry import Candidate, criterion
from workers.pruning.selection import magnitudes


@criterion("magnitude")
def magnitude(candidate: Candidate) -> dict[str, Tensor]:
    """Magnitude pruning: score each weight by its absolute value."""
    return magnitudes(candidate.weights)
