"""Architectures: the paper's networks, and the registry that plugins add to."""

from workers.models import mlp_mixer, resnet_small, unnormalized, vgg, with_torchvision
from workers.models.registry import ARCHITECTURES, Architecture, architecture, build_model

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "architecture",
    "build_model",
    "mlp_mixer",
    "resnet_small",
    "unnormalized",
    "vgg",
    "with_torchvision",
]
