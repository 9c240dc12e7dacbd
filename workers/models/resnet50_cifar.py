"""ResNet-50 as the paper uses it on small images: torchvision's, with a 3x3 stride-1 stem and no max-pool."""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from tickets import reset_layers
from workers.models.registry import architecture


class CifarResNet50(ResNet):
    """torchvision's network; only the stem differs. 23.7 M parameters with 100 classes."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(Bottleneck, [3, 4, 6, 3], num_classes=num_classes)
        self.conv1 = nn.Conv2d(in_channels, 64, 3, 1, 1, bias=False)
        self.maxpool = nn.Identity()

    def reset_parameters(self) -> None:
        """torchvision's initialisation: He's by fan-out for convolutions, the layers' own otherwise."""
        reset_layers(self)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


@architecture("resnet50")
def resnet50_cifar(in_channels: int, num_classes: int) -> nn.Module:
    """ResNet-50 with the stem for small images."""
    return CifarResNet50(in_channels, num_classes)
