"""ResNet-20, -32 and -56 for 32-pixel images (He et al. 2016, section 4.2), and a residual network for signals."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from workers.models.he import draw_he
from workers.models.registry import architecture


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut: a 1x1 convolution with batch norm if the shape changes."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv1 = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, kernel, 1, padding, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self._stride = stride
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != (1, 1):
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        if self._stride != (1, 1):
            # a pool of one pixel and a 1x1 convolution give the bits of a strided one, which
            # workers.devices.memory_format forbids; a slice would too, but its gradient is not channels last
            x = F.avg_pool2d(x, 1, self._stride)
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class SmallResNet(nn.Module):
    """A stem, then stages of basic blocks, each after the first halving the resolution; global average; linear.

    Input (batch, channels, height, width). A signal is an image of height 1, with ``kernel`` (1, 3).
    """

    def __init__(
        self, in_channels: int, num_classes: int, widths: Sequence[int], blocks: int, kernel: tuple[int, int] = (3, 3)
    ) -> None:
        super().__init__()
        halve = (2 if kernel[0] > 1 else 1, 2)
        self.conv = nn.Conv2d(in_channels, widths[0], kernel, 1, (kernel[0] // 2, kernel[1] // 2), bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        layers: list[nn.Module] = []
        inputs = widths[0]
        for stage, width in enumerate(widths):
            for block in range(blocks):
                stride = halve if stage > 0 and block == 0 else (1, 1)
                layers.append(BasicBlock(inputs, width, kernel, stride))
                inputs = width
        self.blocks = nn.Sequential(*layers)
        self.fc = nn.Linear(inputs, num_classes)

    reset_parameters = draw_he

    def forward(self, x: Tensor) -> Tensor:
        out = self.blocks(F.relu(self.bn(self.conv(x))))
        return self.fc(out.mean((2, 3)))


@architecture("resnet1d")
def resnet1d(in_channels: int, num_classes: int, width: int = 8, blocks: int = 1) -> nn.Module:
    """A residual network for signals: three stages of ``blocks`` basic blocks with kernels of 1x3."""
    if not 1 <= blocks <= 1_000:
        raise ValueError(f"blocks is a number from 1 to 1,000, not {blocks}")
    return SmallResNet(in_channels, num_classes, (width, 2 * width, 4 * width), blocks, (1, 3))


@architecture("resnet20")
def resnet20(in_channels: int, num_classes: int, width: int = 16) -> nn.Module:
    """ResNet-20: three stages of three blocks, widths 16, 32, 64."""
    return SmallResNet(in_channels, num_classes, (width, 2 * width, 4 * width), 3)


@architecture("resnet32")
def resnet32(in_channels: int, num_classes: int, width: int = 16) -> nn.Module:
    """ResNet-32: three stages of five blocks, widths 16, 32, 64."""
    return SmallResNet(in_channels, num_classes, (width, 2 * width, 4 * width), 5)


@architecture("resnet56")
def resnet56(in_channels: int, num_classes: int, width: int = 16) -> nn.Module:
    """ResNet-56: three stages of nine blocks, widths 16, 32, 64."""
    return SmallResNet(in_channels, num_classes, (width, 2 * width, 4 * width), 9)
