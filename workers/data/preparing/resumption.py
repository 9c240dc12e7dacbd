"""Process images in chunks, so that a killed process loses one chunk of its work."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tickets.files.writing import replacing
from workers.data.errors import DataError

CHUNK = 1024
ProgressCallback = Callable[[str, int, int], None]
"""(task, images done, images in all) -> None"""


def silent(task: str, done: int, total: int) -> None:
    """Ignore progress."""


def remaining(marker: Path, task: str, total: int, progress: ProgressCallback) -> Iterator[range]:
    """Yield the chunks of images that are not done yet.

    Ask for the next chunk only when the chunk before is safe on disk: ``marker`` then counts its images as done.
    """
    done = int(marker.read_text()) if marker.exists() else 0
    progress(task, done, total)
    while done < total:
        chunk = range(done, min(done + CHUNK, total))
        yield chunk
        done = chunk.stop
        with replacing(marker) as partial:
            partial.write_text(str(done))
        progress(task, done, total)


def check_space(name: str, folder: Path, needed_bytes: int) -> None:
    """Raise DataError if a folder's disk has too little space for ``needed_bytes``, of which some may be written."""
    written = sum(path.stat().st_size for path in folder.iterdir())
    free, missing = shutil.disk_usage(folder).free, needed_bytes - written
    if missing > free:
        raise DataError(
            f"{name}: {missing / 1e9:.1f} GB are needed in {folder.parent} and {free / 1e9:.1f} GB are free; "
            f"give another --data-cache"
        )
