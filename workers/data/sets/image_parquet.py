"""Data sets in Parquet files of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tickets.files import digest
from workers.data.images.encoded import Encoded
from workers.data.images.parquet import ParquetPictures
from workers.data.registry import Source

ALL_BYTES = 10**9
ENDS_BYTES = 1 << 16


def find_image_parquet(
    folder: Path, train: str = "train", test: str = "test", size: tuple[int, int] | None = None
) -> Source | None:
    """The source of both splits' Parquet files below a folder, by the start of their names; None if one is missing."""
    both = [sorted(folder.rglob(f"{split}*.parquet")) for split in (train, test)]
    if not all(both):
        return None

    def decode() -> Encoded:
        first, second = (ParquetPictures(paths) for paths in both)
        return Encoded(first, second, size)

    return Source(f"Parquet files in {folder}", f"parquet-{digest.of_parts(_parts([*both[0], *both[1]]))}", decode)


def _parts(paths: Sequence[Path]) -> Iterator[bytes]:
    """All bytes of the files, or beyond 1 GB, which takes minutes to read, the size and both ends of each file."""
    sizes = [path.stat().st_size for path in paths]
    whole = sum(sizes) <= ALL_BYTES
    for path, size in zip(paths, sizes, strict=True):
        yield size.to_bytes(8, "big")
        with path.open("rb") as file:
            if whole:
                while block := file.read(1 << 22):
                    yield block
            else:
                yield file.read(ENDS_BYTES)
                file.seek(max(0, size - ENDS_BYTES))
                yield file.read(ENDS_BYTES)
