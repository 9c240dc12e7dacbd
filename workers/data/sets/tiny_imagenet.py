"""Tiny-ImageNet, in its original folders or in Parquet. Its validation set is the test set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from workers.data.errors import DataError
from workers.data.registry import Source, data_set
from workers.data.sets import class_folders, image_folder
from workers.data.sets.missing import missing_data

ANNOTATIONS = "val/val_annotations.txt"
LAYOUT = (
    "tiny-imagenet-200/ with wnids.txt, train/<wnid>/images/*.JPEG, val/images/*.JPEG and val/val_annotations.txt, "
    "or tiny-imagenet/ with train*.parquet and valid*.parquet"
)
SIZE = (64, 64)


@data_set("tiny-imagenet", channels=3, num_classes=200)
def find_tiny_imagenet(data_root: Path | None, downloads: Path) -> Source:
    """100,000 training and 10,000 test images of 64x64 pixels; a subset of the classes works too."""
    if data_root is not None:
        folders = [path for path in sorted(data_root.glob("tiny-imagenet*")) if path.is_dir()]
        named = data_root / "tiny-imagenet-200"
        for folder in (named, data_root, *folders):
            if (folder / "wnids.txt").exists():
                return _read_folders(folder)
        for folder in folders:
            source = image_folder.find_image_parquet(folder, test=("valid", "validation", "val"), size=SIZE)
            if source is not None:
                return source
    raise missing_data("tiny-imagenet", "tiny-imagenet-200", LAYOUT, data_root, ("tiny-imagenet",))


def _read_folders(root: Path) -> Source:
    annotations = root / ANNOTATIONS
    missing = [path for path in (root / "train", root / "val/images", annotations) if not path.exists()]
    if missing:
        raise DataError(f"tiny-imagenet: {missing[0]} is missing; expected: {LAYOUT}")
    classes = sorted((root / "wnids.txt").read_text(encoding="utf-8").split())
    class_of = {}
    for number, line in enumerate(annotations.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) < 2:
            raise DataError(f"{annotations}, line {number}: expected a file name and a WordNet id, separated by a tab")
        class_of[fields[0]] = fields[1]
    train = class_folders.split_by_class(root, "train", classes)
    test = class_folders.split_by_table(root, "val/images", classes, class_of)
    source = image_folder.source_of(root, train, test, len(classes), SIZE)
    boxes = ".txt"  # each class has a table of boxes beside its images
    return replace(source, left_out={ext: count for ext, count in source.left_out.items() if ext != boxes})
