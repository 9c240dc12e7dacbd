"""Digests of texts, files and tensors. All are blake2b in hexadecimal digits; stored files and keys hold them.

Changing a function here changes keys and makes stored files look damaged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tickets.files.reading import open_regular

if TYPE_CHECKING:
    from torch import Tensor

    Bytes = bytes | bytearray | memoryview

SIZE_BYTES = 16


def of_bytes(*parts: Bytes, size_bytes: int = SIZE_BYTES) -> str:
    """Digest of some bytes; several parts count as if they were joined."""
    return of_parts(parts, size_bytes=size_bytes)


def of_parts(parts: Iterable[Bytes], *, size_bytes: int = SIZE_BYTES) -> str:
    """Digest of bytes that are produced part by part, as if they were joined."""
    digest = hashlib.blake2b(digest_size=size_bytes)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def of_text(text: str, *, size_bytes: int = SIZE_BYTES) -> str:
    """Digest of a text in UTF-8."""
    return of_bytes(text.encode(), size_bytes=size_bytes)


def of_file(path: Path) -> str:
    """Digest of a file's content."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=SIZE_BYTES)).hexdigest()


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's content, as model hubs list it."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_tensors(tensors: Mapping[str, Tensor], *, header: str = "", with_dtypes: bool = False) -> str:
    """Digest of named tensors: their names, shapes and bytes, in the order of the names.

    Args:
        header: a text that is digested before the tensors.
        with_dtypes: whether the tensors' types count too.
    """
    return of_parts(_tensor_parts(tensors, header, with_dtypes))


def _tensor_parts(tensors: Mapping[str, Tensor], header: str, with_dtypes: bool) -> Iterator[Bytes]:
    import torch  # slow to import, and most commands digest texts and files only

    yield header.encode()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        dtype = f"{tensor.dtype}:" if with_dtypes else ""
        yield f"{name}:{dtype}{tuple(tensor.shape)}:".encode()
        yield tensor.reshape(-1).view(torch.uint8).numpy().data
