"""Pruning criteria: scoring functions by name."""

from workers.pruning.criteria import drawn, gradients, magnitude
from workers.pruning.criteria.registry import CRITERIA, Candidate, criterion, scores

__all__ = ["CRITERIA", "Candidate", "criterion", "drawn", "gradients", "magnitude", "scores"]
