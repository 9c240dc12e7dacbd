"""ResNet-20 without normalization: what a sign carries where no psi rescales a layer.

Each residual branch is divided by the square root of the number of blocks, which keeps the signal and its gradient
from growing with depth (Hayou et al. 2021, "Stable ResNet", section 3). The factor is a constant, so every parameter is
the weight or bias of a convolution or of the classifier; and no weight starts at zero, as Fixup's and SkipInit's do, so
a signed transfer has a magnitude for every sign.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from tickets import reset_layers
from workers.models.registry import architecture

STAGES, BLOCKS = 3, 3


class ScaledBlock(nn.Module):
    """Two convolutions, times a constant, and a shortcut: a 1x1 convolution if the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, scale: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self._stride, self._scale = stride, scale

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv2(F.relu(self.conv1(x)))
        if self._stride > 1:
            x = F.avg_pool2d(x, 1, self._stride)  # a strided 1x1 convolution: see workers.devices.memory_format
        return F.relu(self.shortcut(x) + self._scale * branch)


class UnnormalizedResNet(nn.Module):
    """A stem, three stages of three blocks, each after the first halving the resolution; global average; linear."""

    def __init__(self, in_channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, 1, 1)
        scale = 1 / math.sqrt(STAGES * BLOCKS)
        layers, inputs = [], width
        for stage in range(STAGES):
            for block in range(BLOCKS):
                outputs = width * 2**stage
                layers.append(ScaledBlock(inputs, outputs, 2 if stage and not block else 1, scale))
                inputs = outputs
        self.blocks = nn.Sequential(*layers)
        self.fc = nn.Linear(inputs, num_classes)

    def reset_parameters(self) -> None:
        """Draw He's initialisation for convolutions (He et al. 2015) and torch's for the classifier; zero biases."""
        reset_layers(self)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 4:
                nn.init.kaiming_normal_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.blocks(F.relu(self.conv(x))).mean((2, 3)))


@architecture("resnet20_unnormalized")
def resnet20_unnormalized(in_channels: int, num_classes: int, width: int = 16) -> nn.Module:
    """ResNet-20 without normalization layers, its residual branches divided by the square root of their number."""
    return UnnormalizedResNet(in_channels, num_classes, width)
