"""Probes of pairs besides the barrier: measuring functions by name."""

from workers.probing.probes import disagreement, weight_distance
from workers.probing.probes.registry import PROBES, Pair, measured, probe

__all__ = ["PROBES", "Pair", "disagreement", "measured", "probe", "weight_distance"]
