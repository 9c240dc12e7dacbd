"""The precision of convolutions and matrix products."""

from __future__ import annotations

import torch

from workers.stages import Precision


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """A context in which they run in that precision; bfloat16 needs no loss scaling."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
