"""Read images from Parquet files in the layout of Hugging Face data sets: ``image{bytes, path}`` and a label."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from workers.data.errors import DataError
from workers.data.images.encoded import Origins

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "fine_label")


class ParquetPictures:
    """The images of one split's files. Reading in order is fast.

    Attributes:
        labels: classes; int64 (images,).
        origins: file and row of each image.
        total_bytes: size of all encoded images, uncompressed.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read the files' footers and labels; DataError if their layout differs."""
        self._paths = tuple(paths)
        self._lock = Lock()
        self._held: tuple[int, pa.Array] | None = None
        self._columns: list[str] = []
        self._groups: list[tuple[int, int]] = []  # (file, row group)
        self._starts: list[int] = []  # first image of each row group
        self.total_bytes = 0
        labels: list[NDArray[np.int64]] = []
        count, first_images = 0, []
        for number, path in enumerate(self._paths):
            first_images.append(count)
            with _opened(path) as file:
                image, label = _column(path, file, IMAGE_COLUMNS), _column(path, file, LABEL_COLUMNS)
                content = f"{image}.bytes"
                layout = file.metadata
                for group in range(layout.num_row_groups):
                    row_group = layout.row_group(group)
                    self._groups.append((number, group))
                    self._starts.append(count)
                    count += row_group.num_rows
                    chunks = (row_group.column(column) for column in range(row_group.num_columns))
                    sizes = [c.total_uncompressed_size for c in chunks if c.path_in_schema == content]
                    if not sizes:
                        raise DataError(f"{path}: its column {image} has no field bytes")
                    self.total_bytes += sizes[0]
                self._columns.append(image)
                labels.append(file.read([label]).column(label).to_numpy().astype(np.int64))
        self.labels = np.concatenate(labels)
        self.origins = Origins(tuple(str(path) for path in self._paths), tuple(first_images))

    def __reduce__(self) -> tuple[type[ParquetPictures], tuple[tuple[Path, ...]]]:
        return ParquetPictures, (self._paths,)

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        """An image's file and row."""
        return self.origins.name(index)

    def read(self, index: int) -> bytes:
        """Read an encoded image; its row group stays in memory until an image of another is read."""
        group = bisect_right(self._starts, index) - 1
        with self._lock:
            if self._held is None or self._held[0] != group:
                self._held = None  # freed first, so that only one row group is in memory
                self._held = group, self._row_group(*self._groups[group])
            content = self._held[1][index - self._starts[group]].as_py()["bytes"]
        if content is None:
            raise DataError(f"{self.name(index)}: the image is missing")
        return content

    def _row_group(self, number: int, group: int) -> pa.ChunkedArray:
        column = self._columns[number]
        with _opened(self._paths[number]) as file:
            return file.read_row_group(group, columns=[f"{column}.bytes"]).column(column)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is no readable Parquet file: {error}") from error


def _column(path: Path, file: pq.ParquetFile, names: Sequence[str]) -> str:
    columns = file.schema_arrow.names
    for name in names:
        if name in columns:
            return name
    raise DataError(f"{path} has no column {' or '.join(names)}; it has {', '.join(columns)}")
