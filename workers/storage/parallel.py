"""Read and download many files in parallel: a bucket answers slowly, but many requests at a time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tickets.files.writing import replacing
from workers.storage.base import Storage

PARALLEL_REQUESTS = 32


def read_many(storage: Storage, paths: Sequence[str]) -> dict[str, bytes]:
    """Read files by path, in order, without the missing ones."""

    def read(path: str) -> bytes | None:
        try:
            return storage.read(path)
        except FileNotFoundError:
            return None

    if storage.folder is not None:
        contents = [read(path) for path in paths]
    else:
        with ThreadPoolExecutor(PARALLEL_REQUESTS) as threads:
            contents = list(threads.map(read, paths))
    return {path: content for path, content in zip(paths, contents, strict=True) if content is not None}


def download_many(storage: Storage, files: Sequence[tuple[str, Path]]) -> None:
    """Copy files to local paths; each file appears whole."""

    def download(file: tuple[str, Path]) -> None:
        path, target = file
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial:
            storage.download(path, partial)

    with ThreadPoolExecutor(PARALLEL_REQUESTS) as threads:
        for _ in threads.map(download, files):
            pass
