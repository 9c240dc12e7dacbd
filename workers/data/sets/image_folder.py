"""Images in folders or Parquet files: the data sets ``imagefolder:NAME``, and what the built-in data sets share."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tickets.files import digest
from workers.data.errors import DataError
from workers.data.images.encoded import Encoded, FilePictures
from workers.data.images.parquet import ParquetPictures
from workers.data.registry import FAMILIES, DataSet, Source

TEST_FOLDERS = ("val", "valid", "validation", "test")
LAYOUT = "{name}/ with train/<class>/ and val/<class>/ (or valid, validation, test) full of images"
SIZED_FILES = 10
ALL_BYTES = 10**9
ENDS_BYTES = 1 << 16
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's


def image_folder(name: str) -> DataSet:
    """The data set of RGB images in the subfolders, one per class, of a folder; DataError for no valid folder name."""
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):  # the name becomes part of paths
        raise DataError(f"imagefolder:{name}: give a folder's name, of letters, digits, '.', '_' and '-'")
    return DataSet(f"imagefolder:{name}", partial(_find, name), version=1, channels=3, num_classes=None)


FAMILIES["imagefolder"] = image_folder


def _find(name: str, data_root: Path | None, downloads: Path) -> Source:
    root = data_root / name if data_root else None
    test = next((split for split in TEST_FOLDERS if root and (root / split).is_dir()), None)
    if root is None or test is None or not (root / "train").is_dir():
        raise layout_error(f"imagefolder:{name}", LAYOUT.format(name=name), data_root)
    classes = folder_names(root / "train")
    train = pictures_by_class(root, "train", classes)
    return folder_source(root, train, pictures_by_class(root, test, classes), len(classes))


def layout_error(name: str, layout: str, data_root: Path | None) -> DataError:
    """The error for missing data that cannot be downloaded: says which layout is expected where."""
    where = f"{data_root} does not hold it" if data_root else "no --data-root is given"
    return DataError(f"{name} cannot be downloaded, and {where}; expected there: {layout}")


def folder_names(folder: Path) -> list[str]:
    """Sorted names of the subfolders, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def image_names(root: Path, below: str) -> list[str]:
    """Images below a folder, as sorted paths relative to a root.

    Images are told by extension, as torchvision's ImageFolder does, without hidden files, since macOS leaves hidden
    files with names of images. Folders are scanned without a call per file, since ImageNet has 1.28 million.
    """
    names = []
    with os.scandir(root / below) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = f"{below}/{entry.name}"
            if entry.name.lower().endswith(IMAGE_EXTENSIONS):
                names.append(path)
            elif entry.is_dir():
                names.extend(image_names(root, path))
    return sorted(names)


def pictures_by_class(root: Path, split: str, classes: Sequence[str]) -> FilePictures:
    """The images in ``root/split/<class>/``; a class's number is its position in ``classes``.

    DataError if a folder is of no known class or has no image, or a class has no folder in ``train/``.
    """
    folders = folder_names(root / split)
    unknown = sorted(set(folders) - set(classes))
    if unknown:
        raise DataError(f"{root / split / unknown[0]}: {unknown[0]} is none of the {len(classes)} training classes")
    names: list[str] = []
    labels: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    for label, class_ in enumerate(classes):
        if class_ not in folders and split != "train":  # a class without test images is allowed
            continue
        images = image_names(root, f"{split}/{class_}") if class_ in folders else []
        if not images:
            raise DataError(f"{root / split / class_} holds no image")
        names += images
        labels.append(np.full(len(images), label, dtype=np.int64))
    if not names:
        raise DataError(f"{root / split} holds no folder with images")
    return FilePictures(root, encoded_names(names), np.concatenate(labels))


def pictures_by_table(root: Path, folder: str, classes: Sequence[str], class_of: Mapping[str, str]) -> FilePictures:
    """The images of a flat folder, with their classes from a table by file name.

    DataError if a file is not in the table, the table names a missing file, or a class is unknown.
    """
    names = image_names(root, folder)
    files = [name.removeprefix(f"{folder}/") for name in names]
    odd = sorted(set(files) ^ set(class_of))
    if odd:
        fault = "has no class in the table" if odd[0] in files else "is missing"
        raise DataError(f"{root / folder / odd[0]} {fault} (files with a fault: {len(odd)})")
    number = {class_: label for label, class_ in enumerate(classes)}
    for file in files:
        if class_of[file] not in number:
            raise DataError(f"{root / folder / file}: its class {class_of[file]} is no training class")
    labels = np.array([number[class_of[file]] for file in files], dtype=np.int64)
    return FilePictures(root, encoded_names(names), labels)


def encoded_names(names: Sequence[str]) -> NDArray[np.bytes_]:
    """Names as one array of bytes, which takes a tenth of a list's memory."""
    return np.array([os.fsencode(name) for name in names], dtype=np.bytes_)


def folder_source(
    root: Path, train: FilePictures, test: FilePictures, num_classes: int, size: tuple[int, int] | None = None
) -> Source:
    """The source of two splits under one root.

    The fingerprint covers all names and labels, and the sizes of the first files of each class: re-encoded images get
    another fingerprint, without a look at a million files.
    """
    content = digest.of_parts(part for split in (train, test) for part in _parts(split))
    return Source(f"image files in {root}", f"files-{content}", lambda: Encoded(train, test, size), num_classes)


def _parts(split: FilePictures) -> Iterator[bytes]:
    sizes = [split.path(index).stat().st_size for index in _first_of_each_class(split.labels)]
    for part in (split.names, split.labels, np.array(sizes)):
        yield f"{part.dtype.str} {len(part)} ".encode()
        yield part.tobytes()


def _first_of_each_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    place = np.arange(len(labels)) - np.repeat(counts.cumsum() - counts, counts)
    return order[place < SIZED_FILES]


def find_image_parquet(
    folder: Path, train: str = "train", test: str = "test", size: tuple[int, int] | None = None
) -> Source | None:
    """The source of both splits' Parquet files below a folder, by the start of their names; None if one is missing."""
    both = [sorted(folder.rglob(f"{split}*.parquet")) for split in (train, test)]
    if not all(both):
        return None

    def decode() -> Encoded:
        first, second = (ParquetPictures(paths) for paths in both)
        return Encoded(first, second, size)

    return Source(f"Parquet files in {folder}", f"parquet-{digest.of_parts(_bytes_of([*both[0], *both[1]]))}", decode)


def _bytes_of(paths: Sequence[Path]) -> Iterator[bytes]:
    """All bytes of the files, or beyond 1 GB, which takes minutes to read, the size and both ends of each file."""
    sizes = [path.stat().st_size for path in paths]
    whole = sum(sizes) <= ALL_BYTES
    for path, size in zip(paths, sizes, strict=True):
        yield size.to_bytes(8, "big")
        with path.open("rb") as file:
            if whole:
                while block := file.read(1 << 22):
                    yield block
            else:
                yield file.read(ENDS_BYTES)
                file.seek(max(0, size - ENDS_BYTES))
                yield file.read(ENDS_BYTES)
