"""The networks."""

from workers.models import resnet50_cifar, resnet_small
from workers.models.registry import ARCHITECTURES, Architecture, architecture, build_model

__all__ = ["ARCHITECTURES", "Architecture", "architecture", "build_model", "resnet50_cifar", "resnet_small"]
