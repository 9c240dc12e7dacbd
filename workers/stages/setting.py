"""What every stage of one experiment shares: data set, architecture, preset and precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Preset = Literal["sound", "reference"]
Precision = Literal["float32", "bfloat16"]

IMAGE_SIZE = 224


@dataclass(frozen=True)
class Data:
    """A data set and the share of it that is trained on.

    Attributes:
        fingerprint: identifies the content of the files; two copies of the same data have the same fingerprint.
        validation_fraction: share of the training images held out for validation.
        image_size: side in pixels to which images of varying size are cropped; images of one size keep theirs.
        pixel_mean, pixel_std: normalise images by these values per channel, in units of 0 to 1. None takes those of
            the training images, or ImageNet's for streamed images.
    """

    name: str
    fingerprint: str
    validation_fraction: float
    image_size: int = IMAGE_SIZE
    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Model:
    """An architecture by its registered name, with its constructor's options."""

    name: str
    options: Mapping[str, int | float | bool | str] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True)
class Setting:
    """What every stage of one experiment shares.

    Attributes:
        watch_test_set: evaluate the test set after each epoch, as the released code does. The preset ``sound`` reads
            it once.
        precision: of convolutions and matrix products; parameters, statistics and updates are always float32.
    """

    preset: Preset
    data: Data
    model: Model
    watch_test_set: bool = False
    precision: Precision = "float32"
