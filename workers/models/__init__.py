"""The networks."""

from workers.models import efficientnet, mlp_mixer, mobilenetv2, resnet50, resnet_small, shufflenet
from workers.models.registry import ARCHITECTURES, Architecture, architecture, build_model

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "architecture",
    "build_model",
    "efficientnet",
    "mlp_mixer",
    "mobilenetv2",
    "resnet50",
    "resnet_small",
    "shufflenet",
]
