"""Manifests: each file of a data set with its size, times and digest, as they were when the file was read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 16
ENDS_BYTES = 1 << 12
ENTRY = np.dtype(
    [("size", "<i8"), ("mtime_ns", "<i8"), ("ctime_ns", "<i8"), ("digest", f"V{DIGEST_BYTES}")],
)
STAMP = ("size", "mtime_ns", "ctime_ns")
"""What one call of stat tells: if none of it changed, neither did the file. The times of a copy are others."""
UNSETTLED = -1
"""As ``ctime_ns``: the file was written moments before it was read, so that equal times would prove nothing."""
SHOWN = 3


@dataclass(frozen=True, eq=False)
class Manifest:
    """The files of a data set as they were read.

    Attributes:
        names: paths below the data set's folder, in the file system's encoding; (files,).
        entries: of type ``ENTRY``; (files,).
        whole: whether a digest covers all bytes of its file, or both ends of it.
    """

    names: NDArray[np.bytes_]
    entries: NDArray[np.void]
    whole: bool

    def __len__(self) -> int:
        return len(self.names)

    def aligned(self, names: NDArray[np.bytes_]) -> tuple[NDArray[np.bool_], NDArray[np.void]]:
        """Which of some names this manifest has, and the entry of each; entries of unknown names mean nothing."""
        if not len(self):
            return np.zeros(len(names), dtype=bool), np.zeros(len(names), dtype=ENTRY)
        order = np.argsort(self.names)
        rows = order[np.searchsorted(self.names, names, sorter=order).clip(max=len(self) - 1)]
        return self.names[rows] == names, self.entries[rows]


def same_stamps(one: NDArray[np.void], other: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which entries have equal sizes and times."""
    return np.logical_and.reduce([one[field] == other[field] for field in STAMP])


def stamp_of(status: os.stat_result) -> tuple[int, int, int]:
    """A file's size and times, as in ``STAMP``."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def digest_of(content: bytes, *, whole: bool) -> bytes:
    """The digest in a manifest of a file with this content."""
    if not whole and len(content) > 2 * ENDS_BYTES:
        content = content[:ENDS_BYTES] + content[-ENDS_BYTES:]
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def difference(old: Manifest, new: Manifest) -> str:
    """Count and name the files in which two manifests differ; empty if none does."""
    known, before = old.aligned(new.names)
    differs = before["size"] != new.entries["size"]
    if old.whole == new.whole:
        differs |= before["digest"] != new.entries["digest"]
    gone = ~np.isin(old.names, new.names)
    parts = [
        _named(new.names[known & differs], f"of {len(old):,} files differ", f"of {len(old):,} files differs"),
        _named(new.names[~known], "files are new", "file is new"),
        _named(old.names[gone], "files are gone", "file is gone"),
    ]
    return ", ".join(part for part in parts if part)


def _named(names: NDArray[np.bytes_], are: str, is_: str) -> str:
    if not len(names):
        return ""
    return f"{len(names):,} {is_ if len(names) == 1 else are} ({listed([os.fsdecode(n) for n in names])})"


def listed(names: Sequence[str]) -> str:
    """The first of some names, and an ellipsis if there are more."""
    return ", ".join([*names[:SHOWN], *(["…"] if len(names) > SHOWN else [])])


def utc(unix_s: float) -> str:
    """A time for messages."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
