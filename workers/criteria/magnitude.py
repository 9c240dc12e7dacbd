"""The paper's criterion. method.md, "Pruning stages"."""

from __future__ import annotations

from torch import Tensor

from workers.criteria.registry import Candidate, criterion


@criterion("magnitude")
def magnitude(candidate: Candidate) -> dict[str, Tensor]:
    """The weights' absolute values."""
    return {name: weight.abs() for name, weight in candidate.weights.items()}
