"""Tiny-ImageNet, in its published folders, in a folder per class, or in Parquet. Its validation set is the test set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from workers.data.errors import DataError
from workers.data.registry import Source, data_set
from workers.data.sets import image_folder
from workers.data.sets.class_folders import (
    FolderSplit,
    encoded_names,
    folder_names,
    list_images,
    split_by_class,
    split_by_table,
)
from workers.data.sets.missing import missing_data

FLAT, ANNOTATIONS = "val/images", "val/val_annotations.txt"
LAYOUT = (
    "tiny-imagenet-200/ with train/<wnid>/, and val/<wnid>/ or val/images/*.JPEG beside val/val_annotations.txt, or "
    "tiny-imagenet/ with train*.parquet and valid*.parquet"
)
SIZE = (64, 64)
TEST_SPLITS = ("valid", "validation", "val")


@data_set("tiny-imagenet", channels=3, num_classes=200)
def find_tiny_imagenet(data_root: Path | None, downloads: Path) -> Source:
    """100,000 training and 10,000 test images of 64x64 pixels; a subset of the classes works too."""
    if data_root is not None:
        folders = [path for path in sorted(data_root.glob("tiny-imagenet*")) if path.is_dir()]
        named = data_root / "tiny-imagenet-200"
        for folder in (named, data_root, *folders):
            if (folder / "wnids.txt").exists() or (folder != data_root and _has_splits(folder)):
                return _read_folders(folder)
        for folder in folders:
            source = image_folder.find_image_parquet("tiny-imagenet", folder, test=TEST_SPLITS, size=SIZE)
            if source is not None:
                return source
    raise missing_data("tiny-imagenet", "tiny-imagenet-200", LAYOUT, data_root, ("tiny-imagenet",))


def _has_splits(folder: Path) -> bool:
    return (folder / "val").is_dir() and (folder / "train").is_dir() and bool(folder_names(folder / "train"))


def _read_folders(root: Path) -> Source:
    _check_present(root / "train", root / "val")
    listed = root / "wnids.txt"
    classes = sorted(listed.read_text(encoding="utf-8").split()) if listed.exists() else folder_names(root / "train")
    train = _as_published(split_by_class(root, "train", classes), [f"train/{class_}/images" for class_ in classes])
    test = _as_published(_test_split(root, classes), [FLAT] * len(classes))
    source = image_folder.source_of(root, train, test, len(classes), SIZE)
    boxes = ".txt"  # each class has a table of boxes beside its images
    return replace(source, left_out={ext: count for ext, count in source.left_out.items() if ext != boxes})


def _check_present(*paths: Path) -> None:
    for path in paths:
        if not path.exists():
            raise DataError(f"tiny-imagenet: {path} is missing; expected: {LAYOUT}")


def _test_split(root: Path, classes: Sequence[str]) -> FolderSplit:
    """The validation images, in one folder beside a table of their classes, or in a folder per class."""
    folders = (
        [name for name in folder_names(root / "val") if name != Path(FLAT).name] if (root / "val").is_dir() else []
    )
    by_class = next((name for name in folders if list_images(root, f"val/{name}").images), None)
    flat = bool((root / FLAT).is_dir() and list_images(root, FLAT).images)
    if by_class and flat:
        raise DataError(
            f"tiny-imagenet: {root / FLAT} and {root / 'val' / by_class} both hold images, and only one of the two "
            f"layouts can be meant; remove the images of the other"
        )
    if by_class:
        return split_by_class(root, "val", classes, besides=(Path(FLAT).name,))
    _check_present(root / FLAT, root / ANNOTATIONS)
    return split_by_table(root, FLAT, classes, _annotated(root / ANNOTATIONS))


def _annotated(path: Path) -> dict[str, str]:
    """WordNet id of each validation image, by file name."""
    class_of = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) < 2:
            raise DataError(f"{path}, line {number}: expected a file name and a WordNet id, separated by a tab")
        class_of[fields[0]] = fields[1]
    return class_of


def _as_published(split: FolderSplit, folder_of: Sequence[str]) -> FolderSplit:
    """The same images named and ordered as in the published archive, so that every layout has one fingerprint.

    Args:
        folder_of: the archive's folder for the images of each class.
    """
    paths, labels = [os.fsdecode(name) for name in split.pictures.names], split.pictures.labels
    names = [f"{folder_of[label]}/{path.rpartition('/')[2]}" for path, label in zip(paths, labels, strict=True)]
    order = sorted(range(len(names)), key=lambda row: (names[row], labels[row]))
    ordered = FolderSplit.of(split.pictures.root, [paths[row] for row in order], labels[order], split.left_out)
    return ordered._replace(known_as=encoded_names([names[row] for row in order]))
