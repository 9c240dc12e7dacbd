"""Check that every class of a data set occurs among its training images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.data.errors import DataError

SHOWN = 5


def check_all_occur(subject: str, labels: NDArray[np.int64], num_classes: int) -> None:
    """Raise DataError, which begins with ``subject``, unless each of a data set's classes has an image."""
    absent = np.setdiff1d(np.arange(num_classes), labels)
    if len(absent):
        raise DataError(
            f"{subject}: {num_classes - len(absent)} of {num_classes} classes occur, without {_listed(absent)}; give "
            f"the whole data set, or give a part of it as imagefolder:NAME, which has a class for each folder"
        )


def _listed(classes: NDArray[np.int64]) -> str:
    """The first few of some classes: "3, 4, 5, 6, 7 and 93 more"."""
    rest = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
    return ", ".join(map(str, classes[:SHOWN])) + rest
