"""A user's own images as ``imagefolder:NAME``, and what all readers of image folders share."""

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
from workers.data.registry import FAMILIES, DataSet, Source

TEST_FOLDERS = ("val", "valid", "validation", "test")
LAYOUT = "{name}/ with train/<class>/ and val/<class>/ (or valid, validation, test) full of images"
SIZED_FILES = 10
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's


def image_folder(name: str) -> DataSet:
    """The user's images of RGB in a folder of the data root; the classes are its subfolders' names.

    Raises:
        DataError: the name cannot be a folder's.
    """
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):  # it becomes part of file names, and of a path
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
    """What is expected where, for data that cannot be downloaded."""
    where = f"{data_root} does not hold it" if data_root else "no --data-root is given"
    return DataError(f"{name} cannot be downloaded and {where}; expected there: {layout}")


def folder_names(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted; hidden ones are none of the user's."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def image_names(root: Path, below: str) -> list[str]:
    """Images in a folder and in those under it, as sorted paths relative to a root.

    By their extension, as torchvision's ImageFolder has it, and without hidden files: macOS leaves some that are
    called like images. One call per folder and none per file, since ImageNet has 1.28 million.
    """
    found = []
    with os.scandir(root / below) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = f"{below}/{entry.name}"
            if entry.name.lower().endswith(IMAGE_EXTENSIONS):
                found.append(path)
            elif entry.is_dir():
                found.extend(image_names(root, path))
    return sorted(found)


def pictures_by_class(root: Path, split: str, classes: Sequence[str]) -> FilePictures:
    """The images of ``root/split/<class>/``; a class's number is its place in ``classes``.

    Raises:
        DataError: a folder is no known class, or has no image; or a class has no folder in ``train/``.
    """
    here = folder_names(root / split)
    unknown = sorted(set(here) - set(classes))
    if unknown:
        raise DataError(f"{root / split / unknown[0]}: {unknown[0]} is none of the {len(classes)} classes trained on")
    names: list[str] = []
    labels: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    for label, class_ in enumerate(classes):
        if class_ not in here and split != "train":  # it is just never tested
            continue
        found = image_names(root, f"{split}/{class_}") if class_ in here else []
        if not found:
            raise DataError(f"{root / split / class_}: it holds no image")
        names += found
        labels.append(np.full(len(found), label, dtype=np.int64))
    if not names:
        raise DataError(f"{root / split}: it holds no folder with images")
    return FilePictures(root, encoded_names(names), np.concatenate(labels))


def pictures_by_table(root: Path, folder: str, classes: Sequence[str], class_of: Mapping[str, str]) -> FilePictures:
    """The images of a flat folder, whose classes a table tells by file name.

    Raises:
        DataError: a file is not in the table, the table names one that is not there, or its class is unknown.
    """
    names = image_names(root, folder)
    files = [name.removeprefix(f"{folder}/") for name in names]
    odd = sorted(set(files) ^ set(class_of))
    if odd:
        what = "its class is not known" if odd[0] in files else "it is missing"
        raise DataError(f"{root / folder / odd[0]}: {what}, and {len(odd) - 1} more like it")
    number = {class_: label for label, class_ in enumerate(classes)}
    for file in files:
        if class_of[file] not in number:
            raise DataError(f"{root / folder / file}: its class {class_of[file]} is not trained on")
    labels = np.array([number[class_of[file]] for file in files], dtype=np.int64)
    return FilePictures(root, encoded_names(names), labels)


def encoded_names(names: Sequence[str]) -> NDArray[np.bytes_]:
    """Names as one array of bytes: a tenth of the memory of a list."""
    return np.array([os.fsencode(name) for name in names], dtype=np.bytes_)


def folder_source(
    root: Path, train: FilePictures, test: FilePictures, num_classes: int, size: tuple[int, int] | None = None
) -> Source:
    """The source of two splits under one root.

    Its fingerprint holds all names and labels, and the sizes in bytes of the first files of each class: the same
    images encoded anew are other data, and yet a million files need not be looked at.
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
