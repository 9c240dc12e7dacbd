"""The paper's criterion. method.md, "Pruning stages"."""

from __future__ import annotations

from torch import Tensor

from workers.pruning.criteria.registry import Candidate, criterion
from workers.pruning.selection import magnitudes


@criterion("magnitude")
def magnitude(candidate: Candidate) -> dict[str, Tensor]:
    """The weights' absolute values."""
    return magnitudes(candidate.weights)
