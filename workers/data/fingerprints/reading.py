"""Read the files of a data set in parallel, once: a file that has not changed since an earlier reading is not read."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from workers.data.errors import DataError
from workers.data.fingerprints.manifest import (
    DIGEST_BYTES,
    ENDS_BYTES,
    ENTRY,
    UNSETTLED,
    Manifest,
    same_stamps,
    stamp_of,
)

THREADS = 16
FILES_AT_ONCE = 64  # files that a thread reads before it looks for more work
BLOCK_BYTES = 1 << 22
LOOK_EVERY_S = 0.5
SETTLED_NS = 2 * 10**9  # the coarsest clock of a file system: FAT counts times in steps of 2 s
MEGABYTE = 10**6

ProgressCallback = Callable[[str, int, int], None]
"""(task, done, in all) -> None"""

Inspect = Callable[[bytes, Path], str | None]
"""(first bytes of a file, its path) -> what is wrong with it, or None"""


def read_manifest(
    root: Path,
    names: NDArray[np.bytes_],
    entries: NDArray[np.void],
    whole: bool,
    earlier: Manifest | None,
    task: str,
    progress: ProgressCallback,
    inspect: Inspect | None,
) -> Manifest:
    """Digest the files that are not in an earlier manifest with the same size and times.

    Args:
        names: paths below ``root``.
        entries: sizes and times of the files: see ``stamps``.
        whole: whether files are read whole, or at both ends.
        earlier: of the same ``whole``.
        task: what ``progress`` shows; it counts megabytes.
        inspect: called for each file that is read.

    Raises:
        DataError: a file is missing, no file, unreadable, changes meanwhile, or ``inspect`` finds a fault.
    """
    left = np.ones(len(names), dtype=bool)
    if earlier is not None:
        known, before = earlier.aligned(names)
        left = ~(known & same_stamps(before, entries))
        entries = np.where(left, entries, before)
    rows = np.flatnonzero(left)
    total = int((entries["size"][rows] if whole else entries["size"][rows].clip(max=2 * ENDS_BYTES)).sum())
    done = 0
    faults: dict[int, str] = {}

    def count(read: int) -> None:
        nonlocal done
        done += read  # of several threads: a lost addition shows a bar that is a little short

    def read_some(some: NDArray[np.int64]) -> None:
        for row in some:
            path = root / os.fsdecode(names[row])
            entries[row], head = _entry(path, entries[row], whole, count)
            if inspect and (fault := inspect(head, path)):
                faults[int(row)] = f"{path}: {fault}"

    for _ in _in_threads(read_some, rows):
        progress(task, done // MEGABYTE, -(-total // MEGABYTE))
    if faults:
        raise DataError(f"{faults[min(faults)]}{f' (files with a fault: {len(faults)})' if len(faults) > 1 else ''}")
    if total:
        progress(task, -(-total // MEGABYTE), -(-total // MEGABYTE))
    return Manifest(names, entries, whole)


def stamps(root: Path, names: NDArray[np.bytes_]) -> NDArray[np.void]:
    """Sizes and times of files, as entries without digests; DataError if one is missing or no regular file."""
    entries = np.zeros(len(names), dtype=ENTRY)

    def look(rows: NDArray[np.int64]) -> None:
        for row in rows:
            path = root / os.fsdecode(names[row])
            try:
                status = path.stat()
            except OSError as error:
                raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
            if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
                raise DataError(f"{path} is no file, though its name is that of one; remove or rename it")
            entries[row] = (*stamp_of(status), b"")

    for _ in _in_threads(look, np.arange(len(names))):
        pass
    return entries


def changed_since(root: Path, manifest: Manifest) -> list[str]:
    """Names of a manifest's files whose sizes or times are others now, or that are gone."""
    changed = np.zeros(len(manifest), dtype=bool)

    def look(rows: NDArray[np.int64]) -> None:
        for row in rows:
            before = manifest.entries[row].item()[:3]
            try:
                now = stamp_of((root / os.fsdecode(manifest.names[row])).stat())
            except OSError:
                now = (-1, -1, -1)
            changed[row] = now[:2] != before[:2] or before[2] not in (UNSETTLED, now[2])

    for _ in _in_threads(look, np.arange(len(manifest))):
        pass
    return [os.fsdecode(name) for name in manifest.names[changed]]


def _entry(
    path: Path, seen: np.void, whole: bool, count: Callable[[int], None]
) -> tuple[tuple[int, int, int, bytes], bytes]:
    """Read a file's entry and first bytes; DataError if the file is not as ``seen``, or changes while it is read."""
    began_ns = time.time_ns()
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    head = b""
    try:
        with path.open("rb") as file:
            size, mtime_ns, ctime_ns = before = stamp_of(os.fstat(file.fileno()))
            for block in _blocks(file, size, whole):
                digest.update(block)
                head = head or block
                count(len(block))
            after = stamp_of(os.fstat(file.fileno()))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not seen.item()[:3] == before == after:
        raise DataError(f"{path} changed while the data set was read; start again when nothing writes to it any more")
    fresh = began_ns - SETTLED_NS
    if ctime_ns > fresh or fresh < mtime_ns <= began_ns:
        ctime_ns = UNSETTLED
    return (size, mtime_ns, ctime_ns, digest.digest()), head


def _blocks(file: BinaryIO, size: int, whole: bool) -> Iterator[bytes]:
    if whole or size <= 2 * ENDS_BYTES:
        while block := file.read(BLOCK_BYTES):
            yield block
    else:
        yield file.read(ENDS_BYTES)
        file.seek(-ENDS_BYTES, os.SEEK_END)
        yield file.read(ENDS_BYTES)


def _in_threads(work: Callable[[NDArray[np.int64]], None], rows: NDArray[np.int64]) -> Iterator[None]:
    """Give the rows to threads, some at a time; yield now and then, and raise the first error."""
    if not len(rows):
        return
    pool = ThreadPoolExecutor(THREADS)
    try:
        parts = range(0, len(rows), FILES_AT_ONCE)
        pending: set[Future[None]] = {pool.submit(work, rows[first : first + FILES_AT_ONCE]) for first in parts}
        while pending:
            finished, pending = wait(pending, LOOK_EVERY_S, FIRST_COMPLETED)
            for future in finished:
                future.result()
            yield
    finally:
        pool.shutdown(cancel_futures=True)
