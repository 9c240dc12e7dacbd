"""EfficientNet-B0 (Tan and Le 2019, table 1), in its common form for small images."""

from __future__ import annotations

from torch import nn
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.ops import Conv2dNormActivation

from tickets import reset_layers

STAGES = (  # expansion, kernel, stride, input width, output width, blocks: table 1
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


class SmallEfficientNetB0(EfficientNet):
    """torchvision's blocks after a stride-1 stem; the classifier takes the last block's 320 channels.

    Dropout before the classifier is 0.2. Block i of 16 has drop-connect ``drop_connect * i / 16``. (The released code
    intends 0.2, but never advances the index, so that it drops no block.)
    """

    def __init__(self, in_channels: int, num_classes: int, drop_connect: float) -> None:
        stages = [MBConvConfig(*stage) for stage in STAGES]
        super().__init__(stages, dropout=0.2, stochastic_depth_prob=drop_connect, num_classes=num_classes)
        self.features[0] = Conv2dNormActivation(in_channels, 32, activation_layer=nn.SiLU)
        del self.features[-1]  # the 1x1 convolution to 1280 channels
        self.classifier[1] = nn.Linear(320, num_classes)

    def reset_parameters(self) -> None:
        """Draw each layer's own initialisation, not torchvision's."""
        reset_layers(self)
