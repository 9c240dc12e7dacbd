"""Long work on a split's images in chunks, so that a killed process loses one chunk and not all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tickets.files.writing import write_atomically
from workers.data.errors import DataError

CHUNK = 1024
Progress = Callable[[str, int, int], None]
"""(what, images done, images in all)"""


def silent(what: str, done: int, total: int) -> None:
    """No progress for anybody."""


def remaining(marker: Path, what: str, total: int, progress: Progress) -> Iterator[range]:
    """The chunks of images that are not done yet.

    Asking for the next chunk says that the one before is safe on disk; ``marker`` keeps how many images are.
    """
    done = int(marker.read_text()) if marker.exists() else 0
    progress(what, done, total)
    while done < total:
        chunk = range(done, min(done + CHUNK, total))
        yield chunk
        done = chunk.stop
        write_atomically(marker, str(done).encode(), durable=False)
        progress(what, done, total)


def check_space(name: str, folder: Path, needed_bytes: int) -> None:
    """Raise DataError unless a folder's file system has room for what is to be written, beside what is there."""
    there = sum(path.stat().st_size for path in folder.iterdir())
    free, left = shutil.disk_usage(folder).free, needed_bytes - there
    if left > free:
        raise DataError(
            f"{name}: {left / 1e9:.1f} GB are needed in {folder.parent} and {free / 1e9:.1f} GB are free; "
            f"give another --data-cache"
        )
