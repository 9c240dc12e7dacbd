"""MobileNetV2 (Sandler et al. 2018, table 2): torchvision's for ImageNet, and its common form for small images."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.ops import Conv2dNormActivation

from tickets import reset_layers

STAGES = (  # expansion, width, blocks, stride of the first block: table 2 but for one stride
    (1, 16, 1, 1),
    (6, 24, 2, 1),  # 2 in the table
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """Expand, depthwise, project. At stride 1 with a shortcut: a 1x1 convolution if the width changes.

    torchvision's block differs: no shortcut if the width changes, no expansion by 1, and ReLU6 for ReLU.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.layers = nn.Sequential(
            Conv2dNormActivation(inputs, hidden, 1),
            Conv2dNormActivation(hidden, hidden, 3, stride, groups=hidden),
            Conv2dNormActivation(hidden, outputs, 1, activation_layer=None),
        )
        self.shortcut: nn.Module | None = None
        if stride == 1 and inputs == outputs:
            self.shortcut = nn.Identity()
        elif stride == 1:
            self.shortcut = Conv2dNormActivation(inputs, outputs, 1, activation_layer=None)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layers(x)
        return out if self.shortcut is None else out + self.shortcut(x)


class SmallMobileNetV2(nn.Module):
    """A stride-1 stem, the stages, a 1x1 convolution to 1280 channels, global average, linear."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [Conv2dNormActivation(in_channels, 32, 3)]
        inputs = 32
        for expansion, width, blocks, stride in STAGES:
            for block in range(blocks):
                layers.append(InvertedResidual(inputs, width, stride if block == 0 else 1, expansion))
                inputs = width
        self.features = nn.Sequential(*layers, Conv2dNormActivation(inputs, 1280, 1))
        self.classifier = nn.Linear(1280, num_classes)

    def reset_parameters(self) -> None:
        """Draw each layer's own initialisation."""
        reset_layers(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class ImageNetMobileNetV2(MobileNetV2):
    """torchvision's network without dropout, as the paper trains it."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(num_classes=num_classes, dropout=0.0)
        self.features[0][0] = nn.Conv2d(in_channels, 32, 3, 2, 1, bias=False)

    def reset_parameters(self) -> None:
        """Draw torchvision's initialisation: He's by fan-out for convolutions, a narrow normal for the classifier."""
        reset_layers(self)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)
