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
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    strided = (each for each in convolutions if each.kernel_size == (1, 1) and each.stride != (1, 1))
    miscompiled = device.type == "cpu" and any(each.in_channels // each.groups < LANES for each in strided)
    return torch.contiguous_format if miscompiled else torch.channels_last
