"""Data sets by name. A user's own is one decorated function in a plugin file (docs/extending.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tickets.registry import Registered, Registry
from workers.data.images.encoded import Encoded


@dataclass(frozen=True)
class Arrays:
    """A decoded data set.

    Attributes:
        train_images, test_images: uint8, (images, channels, height, width); a signal has height 1.
        train_labels, test_labels: int64, (images,), from 0.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """Where a data set's content was found.

    Attributes:
        fingerprint: identifies the content; equal for two copies of the same files.
        decode: reads it all, downloading first where that is what the source means; may raise DataError.
        num_classes: where it is not the registered number, as in a part of a data set.
    """

    description: str
    fingerprint: str
    decode: Callable[[], Arrays | Encoded]
    num_classes: int | None = None


Finder = Callable[[Path | None, Path], Source]
"""(data root or None, folder for downloads) -> source; cheap; raises DataError when there is none."""


@dataclass(frozen=True)
class DataSet(Registered[Finder]):
    """A registered data set. Its source's fingerprint takes the place of a version.

    Attributes:
        num_classes: None if only the source knows.
    """

    channels: int
    num_classes: int | None

    @property
    def find(self) -> Finder:
        """The function that finds the source."""
        return self.function


DATA_SETS = Registry("data set", DataSet)

FAMILIES: dict[str, Callable[[str], DataSet]] = {}
"""Data sets that the user names, as in ``prefix:NAME``: prefix -> function of NAME, which may raise DataError."""


def data_set(name: str, *, channels: int, num_classes: int) -> Callable[[Finder], Finder]:
    """Register a function of (data_root, downloads) that returns a Source."""

    return DATA_SETS.register(name, channels=channels, num_classes=num_classes)


def find_data_set(name: str) -> DataSet | None:
    """The data set of a name, or None when there is no such name; DataError for a NAME that cannot be one."""
    prefix, colon, own = name.partition(":")
    return FAMILIES[prefix](own) if colon and prefix in FAMILIES else DATA_SETS.get(name)


def data_set_names() -> list[str]:
    """Every name that can be given, sorted."""
    return sorted([*DATA_SETS, *(f"{prefix}:NAME" for prefix in FAMILIES)])
