"""Read images from Parquet files in the layout of Hugging Face data sets: ``image{bytes, path}`` and a label."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from workers.data.errors import DataError
from workers.data.images.encoded import Origins

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "fine_label")


class ParquetPictures:
    """The images of one split's files. Reading in order is fast.

    Attributes:
        labels: classes from 0; int64 (images,).
        class_names: names of the classes, if the files' metadata has them.
        origins: file and row of each image.
        total_bytes: size of all encoded images, uncompressed.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read the files' footers and labels.

        Raises:
            DataError: the files' layout differs, a label is no class, or an image is missing, as far as a footer tells.
        """
        self._paths = tuple(paths)
        self._lock = Lock()
        self._held: tuple[int, pa.Array] | None = None
        self._columns: list[tuple[str, str]] = []  # each file's columns of images and of labels
        self._groups: list[tuple[int, int]] = []  # (file, row group)
        self._starts: list[int] = []  # first image of each row group
        self.total_bytes = 0
        labels: list[NDArray[np.int64]] = []
        names: list[tuple[str, ...] | None] = []
        count, first_images = 0, []
        incomplete: list[int] = []  # row groups that have fewer images than rows
        for number, path in enumerate(self._paths):
            first_images.append(count)
            with _opened(path) as file:
                image, label = _column(path, file, IMAGE_COLUMNS), _column(path, file, LABEL_COLUMNS)
                _check_images(path, file, image)
                layout = file.metadata
                for group in range(layout.num_row_groups):
                    row_group = layout.row_group(group)
                    self._groups.append((number, group))
                    self._starts.append(count)
                    count += row_group.num_rows
                    chunks = (row_group.column(column) for column in range(row_group.num_columns))
                    (content,) = (chunk for chunk in chunks if chunk.path_in_schema == f"{image}.bytes")
                    self.total_bytes += content.total_uncompressed_size
                    if content.statistics and content.statistics.null_count:
                        incomplete.append(len(self._groups) - 1)
                self._columns.append((image, label))
                labels.append(_labels(path, file, label))
                names.append(_class_names(file, label))
            for fault, values in (("columns", self._columns), ("class names", names)):
                if values[-1] != values[0]:
                    raise DataError(f"{self._paths[0]} and {path} have different {fault}; give files of one data set")
        self.labels = np.concatenate(labels)
        self.class_names = names[0]
        self.origins = Origins(tuple(str(path) for path in self._paths), tuple(first_images))
        if incomplete:
            contents = pc.struct_field(self._row_group(*self._groups[incomplete[0]]), "bytes")
            raise self._missing(self._starts[incomplete[0]] + pc.index(contents.is_null(), True).as_py())

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
            image = self._held[1][index - self._starts[group]].as_py()
        if image is None or image["bytes"] is None:
            raise self._missing(index)
        return image["bytes"]

    def check_classes(self, name: str, num_classes: int) -> None:
        """Raise DataError unless the labels and the class names are those of data set ``name``."""
        if self.class_names is not None and len(self.class_names) != num_classes:
            raise DataError(
                f"{self._paths[0]}: column {self._columns[0][1]} names {len(self.class_names)} classes, and {name} has "
                f"{num_classes}; give the files of {name}"
            )
        beyond = np.flatnonzero(self.labels >= num_classes)
        if len(beyond):
            row = int(beyond[0])
            raise DataError(
                f"{self.name(row)}: column {self._columns[0][1]} holds {self.labels[row]}, and the classes of {name} "
                f"go from 0 to {num_classes - 1}; give the files of {name}"
            )

    def _missing(self, index: int) -> DataError:
        column = self._columns[bisect_right(self.origins.starts, index) - 1][0]
        return DataError(
            f"{self.name(index)}: the image is missing: column {column} has no bytes there; drop the row, or store the "
            f"image itself instead of its path"
        )

    def _row_group(self, number: int, group: int) -> pa.ChunkedArray:
        column, _ = self._columns[number]
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
    there = [column for column in columns if column in names]
    if len(there) > 1:
        raise DataError(
            f"{path} has columns {' and '.join(there)}, and only one of them can be meant; remove the other"
        )
    if not there:
        raise DataError(f"{path} has no column {' or '.join(names)}; it has {', '.join(columns)}")
    return there[0]


def _check_images(path: Path, file: pq.ParquetFile, column: str) -> None:
    """DataError unless a column holds encoded images."""
    type_ = file.schema_arrow.field(column).type
    content = type_.field("bytes").type if pa.types.is_struct(type_) and type_.get_field_index("bytes") >= 0 else None
    content = content.value_type if content is not None and pa.types.is_dictionary(content) else content
    binary = pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view
    if content is None or not any(is_type(content) for is_type in binary):
        raise DataError(
            f"{path}: column {column} holds {type_}; expected encoded images (PNG, JPEG) as struct<bytes: binary, "
            f"path: string>"
        )


def _labels(path: Path, file: pq.ParquetFile, column: str) -> NDArray[np.int64]:
    """Read a file's labels; DataError names the row of one that is no class."""
    table = file.read([column]).column(column)
    if pa.types.is_dictionary(table.type):
        table = table.cast(table.type.value_type)
    if not pa.types.is_integer(table.type):
        raise DataError(f"{path}: column {column} holds {table.type}; expected integers, the numbers of classes from 0")
    if table.null_count:
        row = pc.index(table.is_null(), True).as_py()
        raise DataError(f"{path}, row {row}: column {column} is null; drop the row, or give it the number of its class")
    values = table.to_numpy()
    bad = np.flatnonzero((values < 0) | (values > np.iinfo(np.int64).max))
    if len(bad):
        raise DataError(
            f"{path}, row {bad[0]}: column {column} holds {values[bad[0]]}, which is no class; classes are numbered "
            f"from 0, and a split without labels (-1) cannot be used"
        )
    return values.astype(np.int64)


def _class_names(file: pq.ParquetFile, column: str) -> tuple[str, ...] | None:
    """The names that Hugging Face's ``ClassLabel`` gives the classes; None if the file has none."""
    try:
        features = json.loads((file.schema_arrow.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(map(str, features[column]["names"]))
    except (KeyError, TypeError, ValueError):  # other metadata is none of ours
        return None
