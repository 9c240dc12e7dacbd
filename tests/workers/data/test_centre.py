"""The view of a test image equals torchvision's, and costs little for a long image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional as views

from workers.data.images import centre
from workers.data.images.centre import LONGEST_RESIZED, centre_crop


def noise(width: int, height: int) -> Image.Image:
    stream = np.random.default_rng(width * 10_007 + height)
    return Image.fromarray(stream.integers(0, 256, (height, width, 3), dtype=np.uint8))


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image).astype(int)


def resized_whole(image: Image.Image, side: int) -> Image.Image:
    """Resize, then crop the centre: torchvision's way."""
    return views.center_crop(views.resize(image, [round(side * 256 / 224)]), [side, side])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 32))
def test_any_image_of_ordinary_shape_has_torchvisions_pixels(width: int, height: int, side: int) -> None:
    if max(width, height) < LONGEST_RESIZED / 1.5 * min(width, height):
        image = noise(width, height)
        assert np.array_equal(pixels(centre_crop(image, [side, side])), pixels(resized_whole(image, side)))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 3000), st.integers(1, 32), st.booleans())
def test_cropping_first_gives_the_same_pixels_up_to_ties(short: int, longer_by: int, side: int, upright: bool) -> None:
    width, height = (short, short + longer_by) if upright else (short + longer_by, short)
    image = noise(width, height)
    cropped_first = centre._centre_of_strip(image, [side, side], round(side * centre.RESIZE))
    difference = np.abs(pixels(cropped_first) - pixels(resized_whole(image, side)))
    assert difference.max() <= 2  # a box is float32 in Pillow, so that ties are rounded up or down, in either direction


@pytest.mark.parametrize("size", [(40_000, 2), (1, 30_000)])
def test_a_strip_costs_no_more_than_its_crop(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    resize, areas = Image.Image.resize, []

    def watched(image: Image.Image, size: tuple[int, int], *rest: Any, **options: Any) -> Image.Image:
        areas.append(size[0] * size[1])
        return resize(image, size, *rest, **options)

    monkeypatch.setattr(Image.Image, "resize", watched)
    image = noise(*size)
    assert centre_crop(image, [224, 224]).size == (224, 224)
    tensor = centre_crop(views.pil_to_tensor(image), [224, 224])
    assert np.array_equal(views.to_pil_image(tensor), centre_crop(image, [224, 224]))
    assert set(areas) == {224 * 224}
