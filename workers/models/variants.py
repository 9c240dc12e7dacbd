"""Variants of an architecture: for small images, or torchvision's for ImageNet."""

from __future__ import annotations

from tickets.registry import unknown

VARIANTS = ("small", "imagenet")


def is_small(variant: str) -> bool:
    """Whether a variant is the one for images of 32 and 64 pixels.

    Raises:
        ValueError: the variant is unknown.
    """
    if variant not in VARIANTS:
        raise ValueError(unknown("variant", variant, VARIANTS))
    return variant == "small"
