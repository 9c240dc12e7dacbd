"""Register data sets by name. docs/extending.md shows how to add one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tickets.registry import Registered, Registry
from workers.data.fingerprints.content import Content
from workers.data.fingerprints.manifest import Manifest
from workers.data.images.encoded import Encoded

MOST_EXTENSIONS = 20


@dataclass(frozen=True)
class Arrays:
    """A decoded data set.

    Attributes:
        train_images, test_images: uint8 (images, channels, height, width); a signal has height 1.
        train_labels, test_labels: classes from 0; int64 (images,).
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


@dataclass(frozen=True)
class SplitSummary:
    """What a split holds: its number of images, and how many different classes occur, from lowest to highest.

    Attributes:
        fewest_per_class, most_per_class: number of images of the rarest and of the most frequent class that occurs.
    """

    images: int
    classes: int
    lowest: int
    highest: int
    fewest_per_class: int
    most_per_class: int

    @classmethod
    def of(cls, labels: NDArray[np.int64]) -> SplitSummary:
        """Summarize the classes of a split's images; at least one, int64 (images,)."""
        occurring, images = np.unique(labels, return_counts=True)
        lowest, highest = int(occurring[0]), int(occurring[-1])
        return cls(len(labels), len(occurring), lowest, highest, int(images.min()), int(images.max()))


@dataclass(frozen=True)
class Source:
    """The place of a data set's content.

    Attributes:
        description: a noun phrase for messages.
        fingerprint: identifies the content; equal for two copies of the same files.
        decode: reads everything, and downloads first if the source is a download; may raise DataError.
        num_classes: number of classes, if it differs from the registered number, as in a part of a data set.
        splits: summary of ``train`` and ``test``; empty if only decoding tells.
        left_out: number of files that lie among the images and are not read, by lower-case extension (``.gif``), or
            ``no extension``; hidden files and those that operating systems leave are not counted.
        content: the files from which ``find_source`` computes the fingerprint, which is empty until then; None if
            the finder gives the fingerprint.
        manifest: those files as they were when the fingerprint was computed.
        size: (height, width) of all images in pixels; None if they differ, or only decoding tells.
    """

    description: str
    fingerprint: str
    decode: Callable[[], Arrays | Encoded]
    num_classes: int | None = None
    splits: Mapping[str, SplitSummary] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    content: Content | None = None
    manifest: Manifest | None = None
    size: tuple[int, int] | None = None


def most_frequent(left_out: Mapping[str, int]) -> dict[str, int]:
    """Numbers of files by extension; those of rare extensions together, since a folder may hold any number of them."""
    most = Counter(left_out).most_common()
    rest = sum(count for _, count in most[MOST_EXTENSIONS:])
    frequent = {name.encode(errors="replace").decode(): count for name, count in most[:MOST_EXTENSIONS]}
    return {**frequent, **({"other extensions": rest} if rest else {})}


Finder = Callable[[Path | None, Path], Source]
"""(data root or None, folder for downloads) -> source. Must be fast; raises DataError if the data is missing."""


@dataclass(frozen=True)
class DataSet(Registered[Finder]):
    """A registered data set, whose source's fingerprint takes the place of a version.

    ``num_classes`` is None if only the source knows.
    """

    channels: int
    num_classes: int | None


DATA_SETS = Registry("data set", DataSet)

FAMILIES: dict[str, Callable[[str], DataSet]] = {}
"""Data sets whose names the user chooses, as ``prefix:NAME``: prefix -> function of NAME, which may raise DataError."""


def data_set(name: str, *, channels: int, num_classes: int) -> Callable[[Finder], Finder]:
    """Register a function of (data_root, downloads) that returns a Source, which may give another ``num_classes``."""
    return DATA_SETS.register(name, channels=channels, num_classes=num_classes)


def find_data_set(name: str) -> DataSet | None:
    """The data set of a name, or None if the name is unknown; DataError if the part after a prefix is no valid name."""
    prefix, colon, rest = name.partition(":")
    return FAMILIES[prefix](rest) if colon and prefix in FAMILIES else DATA_SETS.get(name)


def data_set_names() -> list[str]:
    """All names of data sets, sorted; families as ``prefix:NAME``."""
    return sorted([*DATA_SETS, *(f"{prefix}:NAME" for prefix in FAMILIES)])
