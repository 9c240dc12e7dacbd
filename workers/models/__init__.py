"""Architectures: the paper's networks and others, timm's, and the registry that plugins add to."""

from workers.models import from_timm, mlp_mixer, resnet_small, unnormalized, vgg, with_torchvision
from workers.models.registry import (
    ARCHITECTURES,
    Architecture,
    architecture,
    architecture_names,
    build_model,
    find_architecture,
)

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "architecture",
    "architecture_names",
    "build_model",
    "find_architecture",
    "from_timm",
    "mlp_mixer",
    "resnet_small",
    "unnormalized",
    "vgg",
    "with_torchvision",
]
