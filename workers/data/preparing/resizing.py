"""Average images of one size to a smaller square, exactly: the same bytes on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.data.errors import DataError
from workers.data.preparing import writing
from workers.data.preparing.writing import CHUNK, ProgressCallback


def area_averaged(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Average square images over the area of each output pixel; halves are rounded up.

    An input pixel that lies in several output pixels counts in each by the share of its area there.

    Args:
        images: uint8 (images, channels, side, side).
        size: side of the result in pixels, at most ``side``.
    """
    side = images.shape[2]
    edges = np.arange(side + 1) * size
    # overlaps in units of 1/size of an input pixel; whole numbers below 2**53 are exact in float64
    starts = np.arange(size)[:, None] * side
    overlaps = np.minimum(edges[1:], starts + side) - np.maximum(edges[:-1], starts)
    weights = overlaps.clip(min=0).astype(np.float64)
    sums = (weights @ images.astype(np.float64) @ weights.T).astype(np.int64)
    area = side * side
    return ((2 * sums + area) // (2 * area)).astype(np.uint8)


def write_resized(
    folder: Path,
    name: str,
    arrays: Mapping[str, NDArray[Any]],
    size: int,
    meta: Mapping[str, Any],
    prepared_unix_s: float,
    progress: ProgressCallback,
) -> None:
    """Write a prepared data set with its images averaged to ``size`` pixels, under a lock.

    Args:
        arrays: the data set's arrays, see ``workers.data.registry.Arrays``.
        meta: values of ``meta.json`` that are those of the data set.
        prepared_unix_s: when the data set was prepared.

    Raises:
        DataError: the images cannot have this size, or the cache cannot be written.
    """
    for split in ("train", "test"):
        height, width = arrays[f"{split}_images"].shape[2:]
        check_image_size(name, (height, width), size)
    with writing.locked(folder, name) as partial:
        if partial is None:
            return
        partial.mkdir(exist_ok=True)
        images = {split: arrays[f"{split}_images"] for split in ("train", "test")}
        writing.check_space(name, partial, sum(len(each) * each.shape[1] for each in images.values()) * size * size)
        for split, whole in images.items():
            averaged = np.empty((*whole.shape[:2], size, size), np.uint8)
            for first in range(0, len(whole), CHUNK):
                averaged[first : first + CHUNK] = area_averaged(whole[first : first + CHUNK], size)
                progress(f"{name}: averaging {split} images", min(first + CHUNK, len(whole)), len(whole))
            np.save(partial / f"{split}_images.npy", averaged)
            np.save(partial / f"{split}_labels.npy", arrays[f"{split}_labels"])
        writing.publish(partial, folder, {**meta, **writing.summarize(partial)}, prepared_unix_s)


def check_image_size(name: str, own: tuple[int, int], size: int) -> None:
    """Raise DataError unless images of ``own`` (height, width) pixels can be averaged to a side of ``size``."""
    height, width = own
    subject = f"image_size {size}: all images of {name} are {height}x{width}"
    if height != width:
        raise DataError(f"{subject}, and only square images can be averaged; leave image_size out")
    if size == height:
        raise DataError(f"{subject} already; leave image_size out")
    if size > height:
        raise DataError(f"{subject}, and averaging makes them smaller; give less than {height}, or leave it out")
