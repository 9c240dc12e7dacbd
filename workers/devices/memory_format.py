"""The memory format of a network: channels last, wherever that is safe."""

from __future__ import annotations

import torch
from torch import nn

LANES = 16  # input channels in a oneDNN block with AVX-512; 8 without


def memory_format(model: nn.Module, device: torch.device) -> torch.memory_format:
    """The best memory format of a network's weights and images on a device.

    Channels last is the fastest, without transposes. But on CPUs the weight gradient of a strided 1x1 convolution with
    fewer input channels than a block is then wrong, or written past its buffer: uxlfoundation/oneDNN issue 6035, seen
    with torch 2.15 as "corrupted size vs. prev_size". Networks with such a layer keep torch's default format.
    """
    if device.type == "cpu" and any(_is_miscompiled(module) for module in model.modules()):
        return torch.contiguous_format
    return torch.channels_last


def _is_miscompiled(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels // module.groups < LANES
    )
