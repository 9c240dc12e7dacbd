"""Networks built from torchvision's parts, most of them in forms for small images.

EfficientNet-B0 (Tan and Le 2019, table 1), MobileNetV2 (Sandler et al. 2018, table 2), ResNet-18 and ResNet-50 (He et
al. 2016, table 1), and ShuffleNet with three groups (Zhang et al. 2018, table 1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.ops import Conv2dNormActivation

from tickets import reset_layers

EFFICIENTNET_STAGES = (  # expansion, kernel, stride, input width, output width, blocks: table 1
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)
MOBILENET_STAGES = (  # expansion, width, blocks, stride of the first block: table 2 but for one stride
    (1, 16, 1, 1),
    (6, 24, 2, 1),  # 2 in the table
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
RESNET_BLOCKS = {18: (BasicBlock, [2, 2, 2, 2]), 50: (Bottleneck, [3, 4, 6, 3])}
SHUFFLENET_GROUPS = 3
SHUFFLENET_STAGES = ((240, 4), (480, 8), (960, 4))  # width, units: table 1


class SmallEfficientNetB0(EfficientNet):
    """torchvision's blocks after a stride-1 stem; the classifier takes the last block's 320 channels.

    Dropout before the classifier is 0.2. Block i of 16 has drop-connect ``drop_connect * i / 16``. (The released code
    intends 0.2, but never advances the index, so that it drops no block.)
    """

    def __init__(self, in_channels: int, num_classes: int, drop_connect: float) -> None:
        stages = [MBConvConfig(*stage) for stage in EFFICIENTNET_STAGES]
        super().__init__(stages, dropout=0.2, stochastic_depth_prob=drop_connect, num_classes=num_classes)
        self.features[0] = Conv2dNormActivation(in_channels, 32, activation_layer=nn.SiLU)
        del self.features[-1]  # the 1x1 convolution to 1280 channels
        self.classifier[1] = nn.Linear(320, num_classes)

    reset_parameters = reset_layers  # torchvision draws others in its constructor


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
        for expansion, width, blocks, stride in MOBILENET_STAGES:
            for block in range(blocks):
                layers.append(InvertedResidual(inputs, width, stride if block == 0 else 1, expansion))
                inputs = width
        self.features = nn.Sequential(*layers, Conv2dNormActivation(inputs, 1280, 1))
        self.classifier = nn.Linear(1280, num_classes)

    reset_parameters = reset_layers

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


class StemmedResNet(ResNet):
    """torchvision's network of a depth of 18 or 50; only the stem for small images differs: 3x3, and no max-pool.

    Args:
        uniform_stem: leave the stem's weights as torch draws a convolution's, uniform within 1 / sqrt(fan in).
    """

    def __init__(self, depth: int, in_channels: int, num_classes: int, small: bool, uniform_stem: bool = False) -> None:
        super().__init__(*RESNET_BLOCKS[depth], num_classes=num_classes)
        kernel, stride = (3, 1) if small else (7, 2)
        self.conv1 = nn.Conv2d(in_channels, 64, kernel, stride, kernel // 2, bias=False)
        if small:
            self.maxpool = nn.Identity()
        self._uniform_stem = uniform_stem

    def reset_parameters(self) -> None:
        """Draw torchvision's initialisation: He's by fan-out for convolutions, the layers' own otherwise."""
        reset_layers(self)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not (module is self.conv1 and self._uniform_stem):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise, grouped 1x1 (section 3.2), added to the input, which has the same width.

    With ``halve``, the result is concatenated with the pooled input instead, and has only the missing channels.
    """

    def __init__(self, inputs: int, outputs: int, halve: bool) -> None:
        super().__init__()
        hidden, width, stride = outputs // 4, outputs - inputs if halve else outputs, 2 if halve else 1
        self.reduce = Conv2dNormActivation(inputs, hidden, 1, groups=SHUFFLENET_GROUPS, bias=True)
        self.depthwise = Conv2dNormActivation(
            hidden, hidden, 3, stride, groups=hidden, activation_layer=None, bias=True
        )
        self.expand = Conv2dNormActivation(hidden, width, 1, groups=SHUFFLENET_GROUPS, activation_layer=None, bias=True)
        self.pool = nn.AvgPool2d(3, 2, 1) if halve else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.reduce(x)
        out = out.unflatten(1, (SHUFFLENET_GROUPS, -1)).transpose(1, 2).flatten(1, 2)  # the shuffle
        out = self.expand(self.depthwise(out))
        return F.relu(x + out if self.pool is None else torch.cat([self.pool(x), out], 1))


class ShuffleNet(nn.Module):
    """A stem, stages whose first unit halves the resolution, global average, linear; as in the released code.

    The stem is 3x3 with stride 1 and no max-pool, every convolution has a bias, and the first unit's first convolution
    is grouped too, unlike in the ShuffleNet paper.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [Conv2dNormActivation(in_channels, 24, 3, bias=True)]
        inputs = 24
        for width, units in SHUFFLENET_STAGES:
            for unit in range(units):
                layers.append(ShuffleUnit(inputs, width, halve=unit == 0))
                inputs = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, num_classes)

    reset_parameters = reset_layers

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))
