"""Read files that somebody else may have written: regular files only, up to a size, and JSON of any depth."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MOST_BYTES = 64 << 20
"""Largest file that is read as a whole: the plan of 19,406 stages takes a fifth of it."""
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}
_NOT_A_FILE = (errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.ENAMETOOLONG)


class UnreadableFileError(OSError):
    """Something at a path must not be read: no regular file, too large, or outside its folder; trying again is vain."""


def kind_of(mode: int) -> str:
    """Name what a file's mode says it is, such as "a named pipe"."""
    return _KINDS.get(stat.S_IFMT(mode), "a file")


@contextmanager
def open_regular(path: Path | str) -> Iterator[io.BufferedReader]:
    """Open a regular file to read; a named pipe is never waited for.

    Raises:
        UnreadableFileError: the path is a folder, a named pipe, a socket, a device, or a link without an end.
        OSError: the file is missing or cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            raise UnreadableFileError(f"{path} is no regular file ({error.strerror})") from error
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise UnreadableFileError(f"{path} is {kind_of(mode)}, and only regular files are read")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def check_regular(path: Path | str) -> None:
    """Raise UnreadableFileError unless a file is regular, before a library opens it.

    Raises:
        OSError: the file is missing or cannot be opened.
    """
    with open_regular(path):
        pass


def read_regular(path: Path | str, most_bytes: int = MOST_BYTES, *, end: bool = False) -> bytes:
    """Read a regular file.

    Args:
        end: of a larger file, read the last ``most_bytes`` instead of refusing it.

    Raises:
        UnreadableFileError: the path is no regular file, or the file is larger than ``most_bytes``.
        OSError: the file is missing or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if end and size > most_bytes:
            file.seek(size - most_bytes)
        content = file.read(most_bytes + 1)
        if not end:
            _check_size(path, max(size, len(content)), most_bytes)  # it may grow while it is read
        return content[:most_bytes]


def _check_size(path: Path | str, size_bytes: int, most_bytes: int) -> None:
    if size_bytes > most_bytes:
        raise UnreadableFileError(
            f"{path} has {size_bytes:,} bytes, and at most {most_bytes:,} are read of such a file"
        )


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: the text is no JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
