"""The view of a test image: torchvision's Resize and CenterCrop, in memory that a long image does not raise."""

from __future__ import annotations

from math import ceil
from typing import Any

from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as views

RESIZE = 256 / 224
"""Shorter side of the resized image, as a multiple of the crop's."""
LONGEST_RESIZED = 32
"""Longer side of the resized image, as a multiple of the crop's, from which on the image is cropped first."""


def centre_crop(image: Any, size: list[int]) -> Any:
    """Resize an image and crop its centre.

    Args:
        image: a PIL image, or a uint8 tensor (3, height, width) on any device; the result has the same type.
        size: (height, width) of the result, in pixels.
    """
    shorter = round(min(size) * RESIZE)
    height, width = views.get_size(image)
    if shorter * max(height, width) <= LONGEST_RESIZED * max(size) * min(height, width):
        return views.center_crop(views.resize(image, [shorter]), size)
    if isinstance(image, Tensor):
        strip = _centre_of_strip(views.to_pil_image(image), size, shorter)
        return views.pil_to_tensor(strip).to(image.device)
    return _centre_of_strip(image, size, shorter)


def _centre_of_strip(image: Image.Image, size: list[int], shorter: int) -> Image.Image:
    """Crop first and resize then: the same pixels, but for ties in rounding, since Pillow keeps edges in float32."""
    spans = [
        _span(side, int(shorter * side / min(image.size)), kept)
        for side, kept in zip(image.size, reversed(size), strict=True)
    ]
    (left, right), (top, bottom) = ((first, last) for first, last, _, _ in spans)
    box = (spans[0][2], spans[1][2], spans[0][3], spans[1][3])
    return image.crop((left, top, right, bottom)).resize((size[1], size[0]), Image.Resampling.BILINEAR, box)


def _span(side: int, resized: int, kept: int) -> tuple[int, int, float, float]:
    """The pixels of one side that the crop is made of, and the crop's edges in pixels from the first of them."""
    step = side / resized
    begin = round((resized - kept) / 2) * step
    end = begin + kept * step
    support = ceil(max(step, 1)) + 1  # pixels beyond the crop's edges that the filter weighs
    first, last = max(0, int(begin) - support), min(side, ceil(end) + support)
    return first, last, begin - first, end - first
