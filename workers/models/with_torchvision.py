"""Architectures built from torchvision's parts. torchvision takes two seconds to import, so building does it."""

from __future__ import annotations

from torch import nn

from tickets.registry import unknown
from workers.models.registry import Options, architecture

VARIANTS = ("small", "imagenet")
STEMS = ("normal", "uniform")


def _stem_as_released(options: Options) -> Options:
    """Name the released code's draw of the stem for small images; without a name, results have the normal one."""
    released = "uniform" if options.get("variant", "small") == "small" else "normal"
    named = {"stem_init": released, **options}
    return {name: value for name, value in named.items() if (name, value) != ("stem_init", "normal")}


@architecture("efficientnet_b0")
def efficientnet_b0(in_channels: int, num_classes: int, drop_connect: float = 0.2) -> nn.Module:
    """EfficientNet-B0 for small images."""
    from workers.models.torchvision_networks import SmallEfficientNetB0

    return SmallEfficientNetB0(in_channels, num_classes, drop_connect)


@architecture("mobilenetv2")
def mobilenetv2(in_channels: int, num_classes: int, variant: str = "small") -> nn.Module:
    """MobileNetV2 for small images, or with ``variant`` "imagenet" as torchvision has it."""
    from workers.models.torchvision_networks import ImageNetMobileNetV2, SmallMobileNetV2

    return (SmallMobileNetV2 if _is_small(variant) else ImageNetMobileNetV2)(in_channels, num_classes)


@architecture("resnet18")
def resnet18(in_channels: int, num_classes: int, variant: str = "small") -> nn.Module:
    """ResNet-18 with the stem for small images, or with ``variant`` "imagenet" as torchvision has it."""
    from workers.models.torchvision_networks import StemmedResNet

    return StemmedResNet(18, in_channels, num_classes, _is_small(variant))


@architecture("resnet50", complete=_stem_as_released)
def resnet50(in_channels: int, num_classes: int, variant: str = "small", stem_init: str = "normal") -> nn.Module:
    """ResNet-50 with the stem for small images, or with ``variant`` "imagenet" as torchvision has it.

    Args:
        stem_init: distribution of the first convolution's weights: "normal", He's as in all other convolutions, or
            "uniform", torch's own. The released code replaces the stem for small images after construction, so there
            it has the uniform one.
    """
    from workers.models.torchvision_networks import StemmedResNet

    if stem_init not in STEMS:
        raise ValueError(unknown("stem_init", stem_init, STEMS))
    return StemmedResNet(50, in_channels, num_classes, _is_small(variant), stem_init == "uniform")


@architecture("shufflenet_g3")
def shufflenet_g3(in_channels: int, num_classes: int) -> nn.Module:
    """ShuffleNet with three groups, for small images."""
    from workers.models.torchvision_networks import ShuffleNet

    return ShuffleNet(in_channels, num_classes)


@architecture("vit_b16")
def vit_b16(in_channels: int, num_classes: int, image_size: int = 224) -> nn.Module:
    """ViT-B/16 as torchvision has it."""
    from workers.models.vision_transformer import TorchvisionVit

    return TorchvisionVit(in_channels, num_classes, image_size, 16, 768, 12, 12)


@architecture("vit_tiny")
def vit_tiny(
    in_channels: int,
    num_classes: int,
    image_size: int = 32,
    patch_size: int = 4,
    width: int = 192,
    depth: int = 12,
    heads: int = 3,
) -> nn.Module:
    """A vision transformer for small images: DeiT-tiny's shape and draw, with patches of 4 pixels."""
    from workers.models.vision_transformer import SmallVit

    return SmallVit(in_channels, num_classes, image_size, patch_size, width, depth, heads)


def _is_small(variant: str) -> bool:
    """Whether a variant is the one for images of 32 and 64 pixels; ValueError if it is unknown."""
    if variant not in VARIANTS:
        raise ValueError(unknown("variant", variant, VARIANTS))
    return variant == "small"
