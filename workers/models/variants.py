"""Two networks under one name: the one for small images, and torchvision's for ImageNet."""

from __future__ import annotations

VARIANTS = ("small", "imagenet")


def is_small(variant: str) -> bool:
    """Whether a variant is the one for images of 32 and 64 pixels.

    Raises:
        ValueError: there is no such variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    return variant == "small"
