"""ImageNet and Tiny-ImageNet: known names whose layout is checked; this version has no reader for them yet."""

from __future__ import annotations

from pathlib import Path

from workers.data.registry import DataError, Source, data_set

TINY_LAYOUT = "tiny-imagenet-200/ with train/<wnid>/images/*.JPEG, val/images/*.JPEG and val/val_annotations.txt"
IMAGENET_LAYOUT = "imagenet/ with train/<wnid>/*.JPEG and val/<wnid>/*.JPEG"


@data_set("tiny-imagenet", channels=3, num_classes=200)
def find_tiny_imagenet(data_root: Path | None, downloads: Path) -> Source:
    """100,000 training and 10,000 test images of 64x64 pixels."""
    raise _unusable("tiny-imagenet", TINY_LAYOUT, data_root, "tiny-imagenet-200")


@data_set("imagenet", channels=3, num_classes=1000)
def find_imagenet(data_root: Path | None, downloads: Path) -> Source:
    """ILSVRC 2012: 1.28 million training images, 50,000 test images (its validation set)."""
    raise _unusable("imagenet", IMAGENET_LAYOUT, data_root, "imagenet")


def _unusable(name: str, layout: str, data_root: Path | None, folder: str) -> DataError:
    if data_root is not None and (data_root / folder / "train").is_dir():
        return DataError(f"{name} is in {data_root}, but this version cannot read it yet")
    where = f"{data_root} does not hold it" if data_root else "no --data-root is given"
    return DataError(f"{name} cannot be downloaded and {where}; expected there: {layout}")
