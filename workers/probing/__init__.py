"""Measure error along paths and planes between solutions, and whatever else a probe measures of a pair."""

from workers.probing import aligned, curvature
from workers.probing.probes import PROBES, Pair, probe

__all__ = ["PROBES", "Pair", "aligned", "curvature", "probe"]
