"""The Parquet files of a data set's splits, as the data set's source."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from workers.data.images.encoded import Encoded
from workers.data.images.parquet import ParquetPictures
from workers.data.registry import Source

ALL_BYTES = 10**9
ENDS_BYTES = 1 << 16


def find_image_parquet(
    folder: Path, train: str = "train", test: str = "test", size: tuple[int, int] | None = None
) -> Source | None:
    """The Parquet files of both splits under a folder, by the start of their names, or None when there are none."""
    both = [sorted(folder.rglob(f"{split}*.parquet")) for split in (train, test)]
    if not all(both):
        return None

    def decode() -> Encoded:
        first, second = (ParquetPictures(paths) for paths in both)
        return Encoded(first, second, size)

    return Source(f"Parquet files in {folder}", f"parquet-{_digest([*both[0], *both[1]])}", decode)


def _digest(paths: Sequence[Path]) -> str:
    """Of all bytes, or beyond 1 GB, where that takes minutes, of the sizes and both ends of every file."""
    digest = hashlib.blake2b(digest_size=16)
    sizes = [path.stat().st_size for path in paths]
    whole = sum(sizes) <= ALL_BYTES
    for path, size in zip(paths, sizes, strict=True):
        digest.update(size.to_bytes(8, "big"))
        with path.open("rb") as file:
            if whole:
                while block := file.read(1 << 22):
                    digest.update(block)
            else:
                digest.update(file.read(ENDS_BYTES))
                file.seek(max(0, size - ENDS_BYTES))
                digest.update(file.read(ENDS_BYTES))
    return digest.hexdigest()
