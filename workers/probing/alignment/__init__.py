"""Align networks: their permutation symmetries, matched so that one network's units stand where the other's do."""

from workers.probing.alignment.activations import match_activations
from workers.probing.alignment.graph import PermutationGraph, compose, inverse
from workers.probing.alignment.matching import match_weights
from workers.probing.alignment.tracing import trace_permutations

__all__ = ["PermutationGraph", "compose", "inverse", "match_activations", "match_weights", "trace_permutations"]
