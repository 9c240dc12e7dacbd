"""ResNet-50 of torchvision; for small images with the paper's 3x3 stride-1 stem and no max-pool."""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from tickets import reset_layers


class ResNet50(ResNet):
    """torchvision's network; only the stem for small images differs."""

    def __init__(self, in_channels: int, num_classes: int, small: bool) -> None:
        super().__init__(Bottleneck, [3, 4, 6, 3], num_classes=num_classes)
        kernel, stride = (3, 1) if small else (7, 2)
        self.conv1 = nn.Conv2d(in_channels, 64, kernel, stride, kernel // 2, bias=False)
        if small:
            self.maxpool = nn.Identity()

    def reset_parameters(self) -> None:
        """Draw torchvision's initialisation: He's by fan-out for convolutions, the layers' own otherwise."""
        reset_layers(self)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
