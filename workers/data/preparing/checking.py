"""Check what a data set's function decodes, before any of it is written."""

from __future__ import annotations

import numpy as np

from workers.data.classes import check_all_occur
from workers.data.errors import DataError
from workers.data.images.encoded import Encoded
from workers.data.registry import Arrays


def check_content(name: str, content: Arrays | Encoded, channels: int, num_classes: int) -> None:
    """Raise DataError unless images and labels have the registered channels and classes, and every class occurs."""
    if num_classes < 2:
        raise DataError(f"{name}: {num_classes} class, of which every network is right; give at least two classes")
    if isinstance(content, Encoded):
        labels = {"train": content.train.labels, "test": content.test.labels}
        counts = {"train": len(content.train), "test": len(content.test)}
        if channels != 3:
            raise DataError(
                f"{name}: encoded images are RGB, but the data set is registered with channels={channels}; register 3"
            )
    else:
        labels = {"train": content.train_labels, "test": content.test_labels}
        counts = {"train": len(content.train_images), "test": len(content.test_images)}
        for split, images in (("train", content.train_images), ("test", content.test_images)):
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != channels:
                raise DataError(
                    f"{name}: expected {split} images in uint8 of shape (images, {channels}, height, width), got "
                    f"{images.dtype} of shape {images.shape}"
                )
    for split, classes in labels.items():
        if counts[split] != len(classes) or not len(classes):
            raise DataError(f"{name}: {counts[split]} {split} images with {len(classes)} labels; give as many")
        if classes.min() < 0 or classes.max() >= num_classes:
            raise DataError(
                f"{name}: {split} labels go from {classes.min()} to {classes.max()}, expected 0 to {num_classes - 1}"
            )
    check_all_occur(f"{name}: training images", labels["train"], num_classes)
