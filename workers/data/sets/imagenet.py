"""ImageNet (ILSVRC 2012), in folders of JPEGs or in Parquet; its validation set is the test set."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from workers.data.errors import DataError
from workers.data.registry import Source, data_set
from workers.data.sets import class_folders, image_folder
from workers.data.sets.missing import missing_data

DEVKIT_FOLDERS = ("ILSVRC2012_devkit_t12/data", ".", "data")
TRUTH, META, SOLUTION = "ILSVRC2012_validation_ground_truth.txt", "meta.mat", "LOC_val_solution.csv"
LAYOUT = (
    "imagenet/ with train/<wnid>/*.JPEG and val/<wnid>/*.JPEG, or with a flat val/*.JPEG beside "
    f"ILSVRC2012_devkit_t12/ or {SOLUTION}, or with train*.parquet and validation*.parquet"
)


@data_set("imagenet", channels=3, num_classes=1000)
def find_imagenet(data_root: Path | None, downloads: Path) -> Source:
    """1.28 million training and 50,000 test images of many sizes; a subset of the classes works too."""
    if data_root is not None:
        root = data_root / "imagenet"
        if (root / "train").is_dir() and (root / "val").is_dir():
            return _read_folders(root)
        source = image_folder.find_image_parquet("imagenet", root, test=("validation", "val"))
        if source is not None:
            return source
    raise missing_data("imagenet", "imagenet", LAYOUT, data_root, ("imagenet", "ILSVRC2012_"))


def _read_folders(root: Path) -> Source:
    classes = class_folders.folder_names(root / "train")
    train = class_folders.split_by_class(root, "train", classes)
    if class_folders.folder_names(root / "val"):
        test = class_folders.split_by_class(root, "val", classes)
    else:
        test = class_folders.split_by_table(root, "val", classes, _official_classes(root))
    return image_folder.source_of(root, train, test, len(classes))


def _official_classes(root: Path) -> dict[str, str]:
    """WordNet id of each file of a flat ``val/``."""
    for below in DEVKIT_FOLDERS:
        if (root / below / TRUTH).exists() and (root / below / META).exists():
            return _from_devkit(root / below)
    if (root / SOLUTION).exists():
        return _from_kaggle(root / SOLUTION)
    images = len(class_folders.list_images(root, "val").images)
    raise DataError(
        f"imagenet: {root / 'val'} has {images} images without class folders; their classes are expected in "
        f"{root / DEVKIT_FOLDERS[0]} or {root / SOLUTION}"
    )


def _from_devkit(folder: Path) -> dict[str, str]:
    """Line n of the ground truth is the class of ILSVRC2012_val_n; ``meta.mat`` has the classes' WordNet ids."""
    try:
        synsets = np.atleast_1d(loadmat(folder / META, squeeze_me=True)["synsets"])
        wnid_of = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
        ids = [int(line) for line in (folder / TRUTH).read_text(encoding="utf-8").split()]
        return {f"ILSVRC2012_val_{number:08d}.JPEG": wnid_of[id_] for number, id_ in enumerate(ids, start=1)}
    except Exception as error:  # scipy's reader raises any type
        raise DataError(f"{folder}: {META} or {TRUTH} is not the official one ({error!r})") from error


def _from_kaggle(path: Path) -> dict[str, str]:
    """Rows have an image's name and its boxes: ``ILSVRC2012_val_00048981,n03995372 85 1 499 272``."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {f"{row['ImageId']}.JPEG": row["PredictionString"].split()[0] for row in csv.DictReader(file)}
    except (KeyError, IndexError, AttributeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected columns ImageId and PredictionString ({error!r})") from error
