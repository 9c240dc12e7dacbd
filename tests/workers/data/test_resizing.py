"""Images of one size at a smaller image_size: exact area averages, with a cache entry and statistics of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.images import write_images
from workers.data import DataError, MappedData, fingerprint, open_data
from workers.data.preparing.resizing import area_averaged
from workers.data.splits import split_data
from workers.stages import Data


def halved_by_pillow(pictures: np.ndarray) -> np.ndarray:
    """Halve pictures (images, height, width, 3); the result has channels first."""
    return np.stack([np.asarray(Image.fromarray(picture).reduce(2)) for picture in pictures]).transpose(0, 3, 1, 2)


@pytest.mark.parametrize(("side", "size"), [(32, 16), (32, 24), (32, 20), (9, 8), (64, 16)])
def test_a_pixel_is_the_mean_over_its_area_and_a_half_is_rounded_up(side: int, size: int) -> None:
    images = np.random.default_rng(side + size).integers(0, 256, (6, 3, side, side), dtype=np.uint8)
    images[0], images[1, :, :, ::2] = 255, 0
    fine = images.repeat(size, 2).repeat(size, 3).astype(np.int64)  # every input pixel as size x size equal ones
    sums = fine.reshape(6, 3, size, side, size, side).sum((3, 5))
    assert np.array_equal(area_averaged(images, size), np.floor(sums / side**2 + 0.5))


def test_a_smaller_set_is_prepared_beside_the_whole_one_and_normalised_by_its_own_pixels(tmp_path: Path) -> None:
    pictures = {
        split: write_images(tmp_path / f"cifar10/{split}.parquet", n) for split, n in {"train": 40, "test": 6}.items()
    }
    key = fingerprint("cifar10", tmp_path, tmp_path)
    cache = tmp_path / "cache"
    small = open_data("cifar10", key, tmp_path, cache, image_size=16)
    whole = open_data("cifar10", key, None, cache)
    assert isinstance(small, MappedData)
    assert isinstance(whole, MappedData)
    for split in ("train", "test"):
        assert np.array_equal(getattr(small, f"{split}_images").numpy(), halved_by_pillow(pictures[split]))
        assert torch.equal(getattr(small, f"{split}_labels"), getattr(whole, f"{split}_labels"))
    assert whole.train_images.shape[2:] == (32, 32)
    assert small.content_blake2b != whole.content_blake2b
    assert (small.left_out, small.prepared_unix_s) == (whole.left_out, pytest.approx(whole.prepared_unix_s))
    # the mean of four independent pixels deviates half as far
    torch.testing.assert_close(small.std, whole.std / 2, rtol=0.02, atol=0)
    splits = split_data(small, Data("cifar10", key, 0.0, 16), torch.device("cpu"))
    seen = splits.normalized(next(splits.train.in_order(40)).images)
    assert seen.shape == (40, 3, 16, 16)
    assert float(seen.std()) == pytest.approx(1, abs=1e-3)

    damaged = cache / f"cifar10-{key}-16px" / "train_images.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x00")
    with pytest.raises(
        DataError, match=r"-16px is damaged \(ValueError: train_images\.npy differs from its checksum\); remove that"
    ):
        open_data("cifar10", key, None, cache, image_size=16)


@pytest.mark.parametrize(
    ("name", "size", "sentence"),
    [
        ("cifar10", 32, "are 32x32 already; leave image_size out"),
        ("cifar10", 33, "are 32x32, and averaging makes them smaller; give less than 32"),
        ("mnist1d", 16, "are 1x40, and only square images can be averaged; leave image_size out"),
    ],
)
def test_a_size_that_the_images_cannot_have_is_refused(tmp_path: Path, name: str, size: int, sentence: str) -> None:
    for split in ("train", "test"):
        write_images(tmp_path / f"cifar10/{split}.parquet", 10)
    key = fingerprint(name, tmp_path, tmp_path)
    with pytest.raises(DataError, match=f"image_size {size}: all images of {name} {sentence}"):
        open_data(name, key, tmp_path, tmp_path / "cache", image_size=size)
    assert not list((tmp_path / "cache").glob("*px"))
