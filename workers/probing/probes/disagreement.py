"""How often two solutions answer differently, whether right or wrong (Fort et al. 2019, section 4)."""

from __future__ import annotations

import torch

from workers.probing.probes.registry import Pair, probe


@probe("disagreement")
def disagreement(pair: Pair) -> dict[str, float]:
    """Share of the test images to which the two give different answers."""
    differ = [a.argmax(1) != b.argmax(1) for a, b, _ in pair.logits(pair.splits.test)]
    return {"percent": 100 * float(torch.cat(differ).double().mean())}
