"""ResNet-50 as the paper uses it on small images: torchvision's, with a 3x3 stride-1 stem and no max-pool."""

from __future__ import annotations

from torch import nn
from torchvision.models import resnet50

from workers.models.registry import architecture


@architecture("resnet50")
def resnet50_cifar(in_channels: int, num_classes: int) -> nn.Module:
    """23.7 M parameters with 100 classes."""
    model = resnet50(num_classes=num_classes)
    model.conv1 = nn.Conv2d(in_channels, 64, 3, 1, 1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return model
