"""List the images in folders by class, one file per image, and count the files among them that are not read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.data.errors import DataError
from workers.data.images.encoded import FilePictures

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's
LEFT_BY_SYSTEMS = {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found"}


class Listing(NamedTuple):
    """Images below a folder: sorted paths relative to a root, and the number of other files by extension."""

    images: list[str]
    left_out: Counter[str]


class FolderSplit(NamedTuple):
    """The images of a split.

    Attributes:
        known_as: the images' names in the fingerprint: their own, unless the same data has several layouts.
        left_out: number of other files in its folders, by extension.
    """

    pictures: FilePictures
    known_as: NDArray[np.bytes_]
    left_out: Counter[str]

    @classmethod
    def of(cls, root: Path, names: Sequence[str], labels: NDArray[np.int64], left_out: Counter[str]) -> FolderSplit:
        """The split of images below ``root``."""
        pictures = FilePictures(root, encoded_names(names), labels)
        return cls(pictures, pictures.names, left_out)


def folder_names(folder: Path) -> list[str]:
    """Sorted names of the subfolders, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not _is_ignored(entry.name))


def list_images(root: Path, below: str) -> Listing:
    """List the images below a folder.

    Images are told by extension, as torchvision's ImageFolder does, without hidden files, since macOS leaves hidden
    files with names of images.
    """
    images: list[str] = []
    left_out: Counter[str] = Counter()
    for path in _files(root, below):
        if path.lower().endswith(IMAGE_EXTENSIONS):
            images.append(path)
        else:
            left_out[Path(path).suffix.lower() or "no extension"] += 1
    return Listing(sorted(images), left_out)


def _files(root: Path, below: str) -> Iterator[str]:
    """All files below a folder, relative to a root. Without a call per file, since ImageNet has 1.28 million."""
    with os.scandir(root / below) as entries:
        for entry in entries:
            if _is_ignored(entry.name):
                continue
            path = f"{below}/{entry.name}"
            if entry.is_dir():
                yield from _files(root, path)
            else:
                yield path


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in LEFT_BY_SYSTEMS


def split_by_class(root: Path, split: str, classes: Sequence[str], besides: Collection[str] = ()) -> FolderSplit:
    """The images in ``root/split/<class>/``; a class's number is its position in ``classes``.

    Args:
        besides: folders in ``root/split/`` that are of no class.

    Raises:
        DataError: a folder is of no known class or has no image, or a class has no folder in ``train/``.
    """
    folders = [folder for folder in folder_names(root / split) if folder not in besides]
    unknown = sorted(set(folders) - set(classes))
    if unknown:
        raise DataError(f"{root / split / unknown[0]}: {unknown[0]} is none of the {len(classes)} training classes")
    names: list[str] = []
    labels: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    left_out: Counter[str] = Counter()
    for label, class_ in enumerate(classes):
        if class_ not in folders and split != "train":  # a class without test images is allowed
            continue
        listing = list_images(root, f"{split}/{class_}") if class_ in folders else Listing([], Counter())
        if not listing.images:
            raise DataError(f"{root / split / class_} holds no image{_of_other_files(listing.left_out)}")
        names += listing.images
        left_out += listing.left_out
        labels.append(np.full(len(listing.images), label, dtype=np.int64))
    if not names:
        raise DataError(f"{root / split} holds no folder with images")
    return FolderSplit.of(root, names, np.concatenate(labels), left_out)


def _of_other_files(left_out: Counter[str]) -> str:
    if not left_out:
        return ""
    counts = ", ".join(f"{extension} {count}" for extension, count in left_out.most_common(5))
    return f" with an extension that is read ({', '.join(IMAGE_EXTENSIONS)}); it holds {counts}"


def split_by_table(root: Path, folder: str, classes: Sequence[str], class_of: Mapping[str, str]) -> FolderSplit:
    """The images of a flat folder, with their classes from a table by file name.

    DataError if a file is not in the table, the table names a missing file, or a class is unknown.
    """
    names, left_out = list_images(root, folder)
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
    return FolderSplit.of(root, names, labels, left_out)


def encoded_names(names: Sequence[str]) -> NDArray[np.bytes_]:
    """Names as one array of bytes, which takes a tenth of a list's memory."""
    return np.array([os.fsencode(name) for name in names], dtype=np.bytes_)
