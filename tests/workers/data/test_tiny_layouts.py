"""Tiny-ImageNet as people have it: every layout of the same images has the key of the published one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.image_sets import WNIDS, write_tiny_imagenet
from workers.data import DataError, MappedData, find_source, open_data


def class_of(folder: Path) -> dict[str, str]:
    lines = (folder / "val/val_annotations.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t")[:2] for line in lines)


def sort_val(folder: Path, below: str) -> None:
    """Move the validation images to folders of their classes, as the usual scripts do."""
    for file, wnid in class_of(folder).items():
        within = folder / "val" / wnid / below
        within.mkdir(parents=True, exist_ok=True)
        (folder / "val/images" / file).rename(within / file)


def sort_val_and_clean_up(folder: Path) -> None:
    sort_val(folder, ".")
    shutil.rmtree(folder / "val/images")
    (folder / "val/val_annotations.txt").unlink()


def flatten_train(folder: Path) -> None:
    for images in sorted(folder.glob("train/*/images")):
        for path in sorted(images.iterdir()):
            path.rename(images.parent / path.name)
        images.rmdir()


def forget_the_list(folder: Path) -> None:
    (folder / "wnids.txt").unlink()


LAYOUTS: dict[str, list[Callable[[Path], None]]] = {
    "val/<wnid>/*": [lambda folder: sort_val(folder, ".")],
    "val/<wnid>/images/*": [lambda folder: sort_val(folder, "images")],
    "val/<wnid>/* alone": [sort_val_and_clean_up],
    "train/<wnid>/*": [flatten_train],
    "all in folders of classes": [sort_val_and_clean_up, flatten_train, forget_the_list],
}


@pytest.mark.parametrize("changes", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_has_the_key_and_the_arrays_of_the_published_one(
    changes: list[Callable[[Path], None]], tmp_path: Path
) -> None:
    def opened(root: Path) -> MappedData:
        key = find_source("tiny-imagenet", root, tmp_path / "cache").fingerprint
        data = open_data("tiny-imagenet", key, root, tmp_path / f"cache of {root.name}")
        assert isinstance(data, MappedData)
        return data

    published = opened(write_tiny_imagenet(tmp_path / "published").parent)
    folder = write_tiny_imagenet(tmp_path / "changed")
    for change in changes:
        change(folder)
    source = find_source("tiny-imagenet", folder.parent, tmp_path / "cache")
    assert source.fingerprint == find_source("tiny-imagenet", tmp_path / "published", tmp_path / "cache").fingerprint
    assert not source.left_out
    data = opened(folder.parent)
    assert data.content_blake2b == published.content_blake2b
    assert torch.equal(data.test_labels, published.test_labels)


def test_another_class_is_another_key(tmp_path: Path) -> None:
    folder = write_tiny_imagenet(tmp_path)
    sort_val(folder, ".")
    before = find_source("tiny-imagenet", tmp_path, tmp_path / "cache").fingerprint
    first, second = (next((folder / "val" / wnid).iterdir()) for wnid in WNIDS[:2])
    first.rename(second.parent / first.name)
    assert find_source("tiny-imagenet", tmp_path, tmp_path / "cache").fingerprint != before


def leave_a_copy(folder: Path) -> None:
    shutil.copytree(folder / "val/images", folder / "val" / WNIDS[2])


def add_a_stranger(folder: Path) -> None:
    sort_val(folder, ".")
    (folder / "val" / WNIDS[0]).rename(folder / "val" / "n99999999")


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (leave_a_copy, f"val/images and .*val/{WNIDS[2]} both hold images, and only one of the two layouts"),
        (add_a_stranger, "val/n99999999: n99999999 is none of the 8 training classes"),
        (lambda folder: shutil.rmtree(folder / "val"), "tiny-imagenet: .*val is missing; expected: tiny-imagenet-200/"),
    ],
    ids=["both layouts", "unknown class", "no test set"],
)
def test_a_mixed_layout_is_refused(harm: Callable[[Path], None], sentence: str, tmp_path: Path) -> None:
    harm(write_tiny_imagenet(tmp_path))
    with pytest.raises(DataError, match=sentence):
        find_source("tiny-imagenet", tmp_path, tmp_path / "cache")
