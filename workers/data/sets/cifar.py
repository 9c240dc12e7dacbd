"""CIFAR-10 and CIFAR-100: Parquet or torchvision's files under the data root, or a download."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workers.data.errors import DataError
from workers.data.registry import Arrays, Source, data_set
from workers.data.sets.image_folder import find_image_parquet
from workers.data.sets.missing import near_miss

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

SIZE = (32, 32)


@data_set("cifar10", channels=3, num_classes=10)
def find_cifar10(data_root: Path | None, downloads: Path) -> Source:
    """50,000 training and 10,000 test images of 32x32 pixels."""
    return _find("cifar10", data_root, downloads)


@data_set("cifar100", channels=3, num_classes=100)
def find_cifar100(data_root: Path | None, downloads: Path) -> Source:
    """50,000 training and 10,000 test images of 32x32 pixels, in 100 classes."""
    return _find("cifar100", data_root, downloads)


def _find(name: str, data_root: Path | None, downloads: Path) -> Source:
    if data_root is not None:
        source = find_image_parquet(name, data_root / name, size=SIZE)
        if source is not None:
            return source
    from torchvision import datasets  # takes two seconds

    files = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    exists = data_root is not None and (data_root / files.base_folder).is_dir()
    if not exists and (error := near_miss(name, data_root, (f"{name.replace('r', 'r-')}-",))):
        raise error
    folder = data_root if exists and data_root is not None else downloads
    return Source(
        f"torchvision's {files.base_folder} in {folder}",
        f"torchvision-{files.tgz_md5}",
        partial(_decode, name, files, folder, not exists),
        size=SIZE,
    )


def _check_published(files: type[CIFAR10], folder: Path) -> None:
    """Raise DataError for a file that is missing or is not the published one, by its checksum."""
    from torchvision.datasets.utils import check_integrity

    published = [*files.train_list, *files.test_list, (files.meta["filename"], files.meta["md5"])]
    for name, md5 in published:
        path = folder / files.base_folder / name
        if not check_integrity(path, md5):
            fault = "is not the published file: its MD5 checksum is another" if path.exists() else "is missing"
            raise DataError(f"{path} {fault}; unpack {files.filename} in {folder} again")


def _decode(name: str, files: type[CIFAR10], folder: Path, download: bool) -> Arrays:
    if not download:
        _check_published(files, folder)
    try:
        train, test = (files(str(folder), train=split, download=download) for split in (True, False))
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{name}: no usable files in {folder}, and the download failed ({error}); put torchvision's "
            f"{files.base_folder}/ or {name}/train*.parquet and {name}/test*.parquet under the folder that "
            f"--data-root names"
        ) from error
    return Arrays(
        train.data.transpose(0, 3, 1, 2),
        np.asarray(train.targets, dtype=np.int64),
        test.data.transpose(0, 3, 1, 2),
        np.asarray(test.targets, dtype=np.int64),
    )
