"""Images in folders or Parquet files: the data sets ``imagefolder:NAME``, and what the built-in data sets share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from workers.data.classes import check_all_occur
from workers.data.errors import DataError
from workers.data.fingerprints.content import folder_content, parquet_content
from workers.data.images.encoded import Encoded
from workers.data.images.headers import header_fault
from workers.data.images.parquet import ParquetPictures
from workers.data.registry import DATA_SETS, FAMILIES, DataSet, Source, SplitSummary
from workers.data.sets.class_folders import FolderSplit, folder_names, split_by_class
from workers.data.sets.missing import missing_data
from workers.data.sets.shards import split_files

TEST_FOLDERS = ("val", "valid", "validation", "test")
LAYOUT = "{name}/ with train/<class>/ and val/<class>/ (or valid, validation, test) full of images"


def image_folder(name: str) -> DataSet:
    """The data set of RGB images in the subfolders, one per class, of a folder; DataError for no valid folder name."""
    if not re.fullmatch(r"\w[\w.-]{,99}", name, re.ASCII):  # the name becomes part of paths and of stages' names
        raise DataError(f"imagefolder:{name}: give a folder's name, of at most 100 letters, digits, '.', '_' and '-'")
    return DataSet(f"imagefolder:{name}", partial(_find, name), version=1, channels=3, num_classes=None)


FAMILIES["imagefolder"] = image_folder


def _find(name: str, data_root: Path | None, downloads: Path) -> Source:
    root = data_root / name if data_root else None
    test = next((split for split in TEST_FOLDERS if root and (root / split).is_dir()), None)
    if root is None or test is None or not (root / "train").is_dir():
        raise missing_data(f"imagefolder:{name}", name, LAYOUT.format(name=name), data_root, (f"{name}.",))
    classes = folder_names(root / "train")
    return source_of(root, split_by_class(root, "train", classes), split_by_class(root, test, classes), len(classes))


def source_of(
    root: Path, train: FolderSplit, test: FolderSplit, num_classes: int, size: tuple[int, int] | None = None
) -> Source:
    """The source of two splits under one root, with what they hold."""
    pictures = [split.pictures for split in (train, test)]
    content = folder_content(
        root,
        np.concatenate([part.names for part in pictures]),
        [(split.known_as, split.pictures.labels) for split in (train, test)],
        num_classes,
        header_fault,
        streamed=size is None,
    )
    return Source(
        f"image files in {root}",
        "",
        lambda: Encoded(pictures[0], pictures[1], size),
        num_classes,
        splits={split: SplitSummary.of(part.labels) for split, part in zip(("train", "test"), pictures, strict=True)},
        left_out=train.left_out + test.left_out,
        content=content,
        size=size,
    )


def find_image_parquet(
    name: str,
    folder: Path,
    train: Sequence[str] = ("train",),
    test: Sequence[str] = ("test",),
    size: tuple[int, int] | None = None,
) -> Source | None:
    """The source of both splits' Parquet files below a folder; None if one is missing.

    Args:
        name: the registered data set.
        train, test: what the splits may be called.

    Raises:
        DataError: the files of a split are not exactly one complete set, or hold no images with the data set's classes.
    """
    both = [split_files(folder, names) for names in (train, test)]
    if not all(both):
        return None
    num_classes = DATA_SETS[name].num_classes
    assert num_classes is not None
    pictures = [ParquetPictures(paths) for paths in both]
    for split in pictures:
        split.check_classes(name, num_classes)
    check_all_occur(f"{name}: training images", pictures[0].labels, num_classes)
    summaries = (SplitSummary.of(split.labels) for split in pictures)
    return Source(
        f"Parquet files in {folder}",
        "",
        lambda: Encoded(pictures[0], pictures[1], size),
        splits=dict(zip(("train", "test"), summaries, strict=True)),
        content=parquet_content(folder, *both),
        size=size,
    )
