"""Each data set is decoded once per host into uint8 arrays that all its workers map."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from workers.data.registry import DATA_SETS, Arrays, DataError

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class MappedData:
    """A decoded data set; the tensors share one mapping with every other worker of the host.

    Attributes:
        train_images, test_images: uint8, (images, channels, height, width).
        mean, std: of the training pixels by channel, in units of 0..255.
        content_blake2b: digest of all decoded arrays.
    """

    channels: int
    num_classes: int
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    mean: Tensor
    std: Tensor
    content_blake2b: str


def default_cache() -> Path:
    """Where decoded data sets lie unless told otherwise: the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "winning-sign"


def fingerprint(name: str, data_root: Path | None, cache: Path) -> str:
    """The content's fingerprint, found without decoding anything; DataError when there is no such data."""
    return DATA_SETS[name].find(data_root, cache / "downloads").fingerprint


def open_data(name: str, expected: str, data_root: Path | None, cache: Path) -> MappedData:
    """Map a data set, after decoding it under a lock if this host has not done so.

    Args:
        expected: the fingerprint that the stage's key was made with.

    Raises:
        DataError: the data is missing or damaged, or is not what the stage was planned for.
    """
    folder = cache / f"{name}-{expected}"
    if not (folder / "meta.json").exists():
        _decode_into(folder, name, expected, data_root, cache)
    meta = json.loads((folder / "meta.json").read_text())
    # mode "c": the pages are shared and never written, and torch accepts the array as writable
    arrays = {array: torch.from_numpy(np.load(folder / f"{array}.npy", mmap_mode="c")) for array in ARRAYS}
    return MappedData(
        channels=DATA_SETS[name].channels,
        num_classes=DATA_SETS[name].num_classes,
        mean=torch.tensor(meta["mean"], dtype=torch.float32),
        std=torch.tensor(meta["std"], dtype=torch.float32),
        content_blake2b=meta["content_blake2b"],
        **arrays,
    )


def _decode_into(folder: Path, name: str, expected: str, data_root: Path | None, cache: Path) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache / f"{folder.name}.lock")
        with lock:
            if (folder / "meta.json").exists():
                return
            source = DATA_SETS[name].find(data_root, cache / "downloads")
            if source.fingerprint != expected:
                raise DataError(
                    f"{name}: {source.description} is not the data this stage was planned for "
                    f"({source.fingerprint} instead of {expected}); give the same --data-root, or plan anew"
                )
            arrays = source.decode()
            _check(name, arrays)
            with tempfile.TemporaryDirectory(dir=cache, prefix=f"{folder.name}.") as made:
                _write(Path(made) / "data", arrays)
                shutil.rmtree(folder, ignore_errors=True)
                (Path(made) / "data").rename(folder)
    except OSError as error:
        raise DataError(f"{name}: cannot write the decoded data to {cache} ({error}); set --data-cache") from error


def _write(folder: Path, arrays: Arrays) -> None:
    folder.mkdir()
    digest = hashlib.blake2b(digest_size=16)
    for array in ARRAYS:
        content = np.ascontiguousarray(getattr(arrays, array))
        np.save(folder / f"{array}.npy", content)
        digest.update(content.data)
    # by sums of a histogram per channel: exact, and no float copy of the images
    mean, std = [], []
    for channel in range(arrays.train_images.shape[1]):
        counts = np.bincount(arrays.train_images[:, channel].ravel(), minlength=256).astype(np.float64)
        levels = np.arange(256)
        center = (counts * levels).sum() / counts.sum()
        mean.append(center)
        std.append(float(np.sqrt((counts * (levels - center) ** 2).sum() / counts.sum())))
    meta = {"content_blake2b": digest.hexdigest(), "mean": mean, "std": std}
    (folder / "meta.json").write_text(json.dumps(meta))


def _check(name: str, arrays: Arrays) -> None:
    data_set = DATA_SETS[name]
    for split in ("train", "test"):
        images, labels = getattr(arrays, f"{split}_images"), getattr(arrays, f"{split}_labels")
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != data_set.channels:
            raise DataError(
                f"{name}: {split} images are uint8 of (images, {data_set.channels}, height, width), "
                f"got {images.dtype} {images.shape}"
            )
        if len(images) != len(labels) or not len(images):
            raise DataError(f"{name}: {len(images)} {split} images with {len(labels)} labels")
        if labels.min() < 0 or labels.max() >= data_set.num_classes:
            raise DataError(f"{name}: a {split} label lies outside 0..{data_set.num_classes - 1}")
