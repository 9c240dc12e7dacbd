"""Write a file beside its place, then rename it: a reader sees the whole file or none."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_HARD_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a hidden path beside ``path``, and rename the file written there to ``path``; remove it after an error.

    The hidden name ends as the final one does, so that writers which go by the extension work. An OSError about the
    hidden file names ``path``.
    """
    partial = beside(path)
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        if error.filename == str(partial):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        partial.unlink(missing_ok=True)


def beside(path: Path) -> Path:
    """A new hidden name in the folder of ``path``, with the same ending."""
    return path.with_name(f".{secrets.token_hex(4)}.{path.name}")


def write_atomically(path: Path, content: bytes, *, exclusive: bool = False, durable: bool = True) -> None:
    """Write a file, and its folder where missing.

    Args:
        exclusive: raise FileExistsError if the file exists, instead of replacing it.
        durable: wait until the disk has the content, so that it outlives a power cut.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
    partial = beside(path)
    try:
        _write(partial, content, durable=durable)
        if exclusive:
            _link_or_create(partial, path, content, durable=durable)
        else:
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _link_or_create(partial: Path, path: Path, content: bytes, *, durable: bool) -> None:
    """Give a written file its name unless the name is taken; a file system without hard links writes in place."""
    try:
        os.link(partial, path)  # unlike writing in place, this never shows a part of the content
    except FileExistsError:
        if partial.stat().st_nlink < 2:  # 2: NFS made the link and lost the answer
            raise
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        _write(path, content, durable=durable)


def _write(path: Path, content: bytes, *, durable: bool) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        if durable:
            os.fsync(file.fileno())
