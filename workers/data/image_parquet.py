"""Parquet files in the image layout of Hugging Face data sets: ``image{bytes, path}`` and an integer label."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from workers.data.registry import Arrays, DataError, Source

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "fine_label")


def find_image_parquet(folder: Path, num_classes: int) -> Source | None:
    """The Parquet files of both splits under a folder, or None when there are none."""
    train, test = (sorted(folder.rglob(f"{split}*.parquet")) for split in ("train", "test"))
    if not train or not test:
        return None
    digest = hashlib.blake2b(digest_size=16)
    for path in (*train, *test):
        digest.update(path.stat().st_size.to_bytes(8, "big"))
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)

    def decode() -> Arrays:
        return Arrays(*_decode(train, num_classes), *_decode(test, num_classes))

    return Source(f"Parquet files in {folder}", f"parquet-{digest.hexdigest()}", decode)


def _decode(paths: Sequence[Path], num_classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.int64]] = []
    for path in paths:
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} is no readable Parquet file: {error}") from error
        image_column = _column(path, table, IMAGE_COLUMNS)
        label_column = _column(path, table, LABEL_COLUMNS)
        for row, value in enumerate(table.column(image_column)):
            image = _picture(path, row, value.as_py()["bytes"])
            if images and image.shape != images[0].shape:
                raise DataError(f"{path}, row {row}: the image is {image.shape}, the ones before it {images[0].shape}")
            images.append(image)
        labels.append(table.column(label_column).to_numpy().astype(np.int64))
    joined = np.concatenate(labels)
    if joined.min() < 0 or joined.max() >= num_classes:
        raise DataError(f"{paths[0]}: labels go from {joined.min()} to {joined.max()}, not 0 to {num_classes - 1}")
    return np.stack(images), joined


def _column(path: Path, table: pa.Table, names: Sequence[str]) -> str:
    for name in names:
        if name in table.column_names:
            return name
    raise DataError(f"{path} has no column {' or '.join(names)}; it has {', '.join(table.column_names)}")


def _picture(path: Path, row: int, content: bytes) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8).transpose(2, 0, 1)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(f"{path}, row {row}: not a readable image: {error}") from error
