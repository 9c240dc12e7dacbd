"""Disagreement: how often two solutions answer differently (Fort et al. 2019, section 4)."""

from __future__ import annotations

import torch

from workers.probing.probes.registry import Pair, probe


@probe("disagreement")
def disagreement(pair: Pair) -> dict[str, float]:
    """Disagreement: share of the test images that the two solutions classify differently."""
    differ = [a.argmax(1) != b.argmax(1) for a, b, _ in pair.logits(pair.splits.test)]
    return {"percent": 100 * float(torch.cat(differ).double().mean())}
