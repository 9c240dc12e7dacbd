"""Read encoded images of a split by index, and decode them."""

from __future__ import annotations

import io
import mmap
import os
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workers.data.errors import DataError
from workers.data.fingerprints.manifest import Manifest, digest_of, stamp_of, utc
from workers.data.images.headers import fault_of, opened


class Pictures(Protocol):
    """Encoded images and their classes; several threads may read at once."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """The images' classes; int64 (images,)."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """An image's file and, in a file of several images, its row; for messages."""

    def read(self, index: int) -> bytes:
        """Read an encoded image; OSError or DataError if it cannot be read."""


class _Mapped:
    """Pickles arrays that are mapped from .npy files as paths, so that loader processes hold no copies."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: _MappedFile(value.filename) if _is_mapped(value) else value for name, value in vars(self).items()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            opened = np.load(value.path, mmap_mode="r") if isinstance(value, _MappedFile) else value
            object.__setattr__(self, name, opened)


class _MappedFile(NamedTuple):
    path: Any


def _is_mapped(value: object) -> bool:
    # the base of a slice of a mapping is an array, and the slice is not the whole file
    return isinstance(value, np.memmap) and isinstance(value.base, mmap.mmap)


@dataclass(frozen=True, eq=False)
class FilePictures(_Mapped):
    """One file per image.

    Attributes:
        names: paths below ``root`` in the file system's encoding; (images,).
        entries: what each file was when the data set's fingerprint was taken, as in a ``Manifest``; a file that has
            changed since is refused. None if the fingerprint was not computed from the files.
        whole: whether the entries' digests cover all bytes of a file.
    """

    root: Path
    names: NDArray[np.bytes_]
    labels: NDArray[np.int64]
    entries: NDArray[np.void] | None = None
    whole: bool = True

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        """An image's file."""
        return self.root / os.fsdecode(self.names[index])

    def name(self, index: int) -> str:
        return str(self.path(index))

    def read(self, index: int) -> bytes:
        with self.path(index).open("rb") as file:
            content = file.read()
            found = stamp_of(os.fstat(file.fileno()))
        if self.entries is not None:
            entry = self.entries[index]
            # a copy of the data has other times and the same bytes
            same = found == tuple(entry)[:3] or (
                len(content) == entry["size"] and digest_of(content, whole=self.whole) == entry["digest"].tobytes()
            )
            if not same:
                raise DataError(
                    f"{self.path(index)} changed on {utc(found[1] / 1e9)}, after the data set's fingerprint was taken; "
                    f"restore it, or repeat the command to plan with the data as they are now"
                )
        return content


@dataclass(frozen=True)
class Origins:
    """The files that a split's images come from, in order, and the index of each file's first image."""

    files: tuple[str, ...]
    starts: tuple[int, ...]

    def name(self, index: int) -> str:
        """ "shard.parquet, row 17"."""
        file = bisect_right(self.starts, index) - 1
        return f"{self.files[file]}, row {index - self.starts[file]}"


@dataclass(frozen=True, eq=False)
class PackedPictures(_Mapped):
    """All encoded images in one flat file.

    Attributes:
        offsets: position of each image in the file, then the file's size; (images + 1,).
        origins: the files that the images were packed from.
    """

    blob: Path
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64]
    origins: Origins

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def name(self, index: int) -> str:
        return self.origins.name(index)

    def read(self, index: int) -> bytes:
        start, end = int(self.offsets[index]), int(self.offsets[index + 1])
        with self.blob.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), end - start, start)


@dataclass(frozen=True)
class Encoded:
    """A data set whose images are still encoded.

    Attributes:
        size: (height, width) of all images, which are then decoded once, into arrays. None: sizes differ, and images
            are decoded each time they are drawn.
    """

    train: Pictures
    test: Pictures
    size: tuple[int, int] | None

    def guarded(self, manifest: Manifest) -> Encoded:
        """Refuse to read image files that are not as in a manifest of all of them."""

        def guard(pictures: Pictures) -> Pictures:
            if not isinstance(pictures, FilePictures):
                return pictures
            return replace(pictures, entries=manifest.aligned(pictures.names)[1], whole=manifest.whole)

        return Encoded(guard(self.train), guard(self.test), self.size)


def read_encoded(pictures: Pictures, index: int) -> bytes:
    """Read an encoded image; DataError names a file that cannot be read."""
    try:
        return pictures.read(index)
    except OSError as error:
        raise DataError(f"{pictures.name(index)}: cannot be read: {error.strerror or error}") from error


def decode_rgb(pictures: Pictures, index: int, content: bytes | None = None) -> Image.Image:
    """Decode an image of any format, told by its content, to mode RGB; DataError names an unreadable file.

    Args:
        content: the encoded image, if it has been read.
    """
    content = read_encoded(pictures, index) if content is None else content
    try:
        with opened(io.BytesIO(content)) as image:
            if image.mode == "RGB":
                image.load()
                return image  # converted, it would be copied
            if image.mode[0] not in "IF":
                return image.convert("RGB")
            # Pillow's own conversion would clip
            eight = np.clip(np.asarray(image, dtype=np.int64) >> 8, 0, 255)
            return Image.fromarray(eight.astype(np.uint8)).convert("RGB")
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises a dozen types of errors for damaged content
        raise DataError(f"{pictures.name(index)}: {fault_of(error, empty=not content)}") from error


def decode_pixels(pictures: Pictures, size: tuple[int, int], index: int) -> NDArray[np.uint8]:
    """Decode an image to uint8 (3, height, width); DataError if it is unreadable or of another size."""
    image = decode_rgb(pictures, index)
    if (image.height, image.width) != size:
        raise DataError(
            f"{pictures.name(index)}: the image is {image.height}x{image.width} pixels, expected {size[0]}x{size[1]}"
        )
    return np.asarray(image).transpose(2, 0, 1)
