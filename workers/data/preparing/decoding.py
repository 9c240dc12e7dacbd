"""Write images of one size as uint8 arrays in .npy files, and compute their digest and statistics."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from tickets.files import digest
from workers.data.images.encoded import Encoded, Pictures, decode_pixels
from workers.data.preparing.resumption import CHUNK, ProgressCallback, check_space, remaining
from workers.data.registry import Arrays

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def write_arrays(folder: Path, arrays: Arrays) -> None:
    """Write decoded arrays."""
    for array in ARRAYS:
        np.save(folder / f"{array}.npy", np.ascontiguousarray(getattr(arrays, array)))


def decode_images(folder: Path, name: str, content: Encoded, progress: ProgressCallback) -> None:
    """Decode both splits; continue where a killed process stopped.

    Raises:
        DataError: an image is damaged or of another size than ``content.size``, or the disk has too little space.
    """
    assert content.size is not None
    height, width = content.size
    check_space(name, folder, (len(content.train) + len(content.test)) * 3 * height * width)
    for split, pictures in (("train", content.train), ("test", content.test)):
        np.save(folder / f"{split}_labels.npy", np.asarray(pictures.labels))
        task = f"{name}: decoding {split} images"
        _decode_split(folder / f"{split}_images.npy", pictures, content.size, task, progress)


def _decode_split(path: Path, pictures: Pictures, size: tuple[int, int], task: str, progress: ProgressCallback) -> None:
    path.touch()
    # written instead of mapped, since a full disk would kill the process through a mapping
    with path.open("r+b") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (len(pictures), 3, *size)}
        )
        start = file.tell()
        for chunk in remaining(path.with_suffix(".done"), task, len(pictures), progress):
            file.seek(start + chunk.start * 3 * size[0] * size[1])
            for index in chunk:  # in one thread: for images this small, more would wait for the interpreter's lock
                file.write(decode_pixels(pictures, size, index).tobytes())
            file.flush()
            os.fsync(file.fileno())


def summarize(folder: Path) -> dict[str, Any]:
    """Digest of all arrays, and mean and standard deviation of the training pixels by channel."""
    mapped = {array: np.load(folder / f"{array}.npy", mmap_mode="r") for array in ARRAYS}
    content = digest.of_parts(np.ascontiguousarray(mapped[array]).data for array in ARRAYS)
    # from a histogram per channel: exact, and without a float copy of the images
    images = mapped["train_images"]
    levels = np.arange(256)
    mean, std = [], []
    for channel in range(images.shape[1]):
        counts = np.zeros(256)
        for first in range(0, len(images), CHUNK):
            counts += np.bincount(images[first : first + CHUNK, channel].ravel(), minlength=256)
        center = (counts * levels).sum() / counts.sum()
        mean.append(float(center))
        std.append(float(np.sqrt((counts * (levels - center) ** 2).sum() / counts.sum())))
    return {"content_blake2b": content, "mean": mean, "std": std}
