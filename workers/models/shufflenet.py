"""ShuffleNet with three groups (Zhang et al. 2018, table 1), for small images as in the released code.

The stem is 3x3 with stride 1 and no max-pool, every convolution has a bias, and the first unit's first convolution is
grouped too, unlike in the ShuffleNet paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation

from tickets import reset_layers

GROUPS = 3
STAGES = ((240, 4), (480, 8), (960, 4))  # width, units


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise, grouped 1x1 (section 3.2), added to the input, which has the same width.

    With ``halve``, the result is concatenated with the pooled input instead, and has only the missing channels.
    """

    def __init__(self, inputs: int, outputs: int, halve: bool) -> None:
        super().__init__()
        hidden, width, stride = outputs // 4, outputs - inputs if halve else outputs, 2 if halve else 1
        self.reduce = Conv2dNormActivation(inputs, hidden, 1, groups=GROUPS, bias=True)
        self.depthwise = Conv2dNormActivation(
            hidden, hidden, 3, stride, groups=hidden, activation_layer=None, bias=True
        )
        self.expand = Conv2dNormActivation(hidden, width, 1, groups=GROUPS, activation_layer=None, bias=True)
        self.pool = nn.AvgPool2d(3, 2, 1) if halve else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.reduce(x)
        out = out.unflatten(1, (GROUPS, -1)).transpose(1, 2).flatten(1, 2)  # the shuffle
        out = self.expand(self.depthwise(out))
        return F.relu(x + out if self.pool is None else torch.cat([self.pool(x), out], 1))


class ShuffleNet(nn.Module):
    """A stem, stages whose first unit halves the resolution, global average, linear."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [Conv2dNormActivation(in_channels, 24, 3, bias=True)]
        inputs = 24
        for width, units in STAGES:
            for unit in range(units):
                layers.append(ShuffleUnit(inputs, width, halve=unit == 0))
                inputs = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, num_classes)

    reset_parameters = reset_layers

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))
