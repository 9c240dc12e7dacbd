"""What a pair of solutions is probed for beside the barrier between them: one function each, by its name."""

from workers.probing.probes import disagreement, weight_distance
from workers.probing.probes.registry import PROBES, Pair, measured, probe

__all__ = ["PROBES", "Pair", "disagreement", "measured", "probe", "weight_distance"]
