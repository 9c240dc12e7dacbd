"""Data sets by name. A user's own is one decorated function in a plugin file (README, "Your own")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class DataError(ValueError):
    """Data that is missing, of another layout, or damaged; the message says what is expected where."""


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
    """

    description: str
    fingerprint: str
    decode: Callable[[], Arrays]


Finder = Callable[[Path | None, Path], Source]
"""(data root or None, folder for downloads) -> source; cheap; raises DataError when there is none."""


@dataclass(frozen=True)
class DataSet:
    """A registered data set."""

    name: str
    channels: int
    num_classes: int
    find: Finder


DATA_SETS: dict[str, DataSet] = {}


def data_set(name: str, *, channels: int, num_classes: int) -> Callable[[Finder], Finder]:
    """Register a function of (data_root, downloads) that returns a Source."""

    def register(find: Finder) -> Finder:
        DATA_SETS[name] = DataSet(name, channels, num_classes, find)
        return find

    return register
