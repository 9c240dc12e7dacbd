"""Mutations of bytes, which fit every file."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from functools import cache
from pathlib import Path
from random import Random

LARGE = 5_000_000


class _Poison:
    """Pickled, it makes a file when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch outside/executed",)


def flip_bits(path: Path, draw: Random) -> str:
    """Flip one to eight bits."""
    content = bytearray(path.read_bytes())
    if not content:
        return add_bytes(path, draw)
    places = [draw.randrange(len(content)) for _ in range(draw.randint(1, 8))]
    for place in places:
        content[place] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    return f"bits flipped at {places}"


def cut(path: Path, draw: Random) -> str:
    """Cut the file before its end, at times to nothing."""
    content = path.read_bytes()
    length = draw.choice([0, draw.randrange(len(content) + 1), max(0, len(content) - 1)])
    path.write_bytes(content[:length])
    return f"cut to {length} of {len(content)} bytes"


def add_bytes(path: Path, draw: Random) -> str:
    """Append or insert random bytes, zeros, or the file itself."""
    content = path.read_bytes()
    more = draw.choice([draw.randbytes(draw.randint(1, 100)), bytes(10_000), content, b"A" * LARGE])
    place = draw.choice([len(content), draw.randrange(len(content) + 1), 0])
    path.write_bytes(content[:place] + more + content[place:])
    return f"{len(more)} bytes added at {place}"


def zeros(path: Path, draw: Random) -> str:
    """Set a range to zeros, at times all of the file."""
    content = bytearray(path.read_bytes())
    start, end = sorted(draw.choice([(0, len(content)), (draw.randrange(len(content) + 1), len(content))]))
    content[start:end] = bytes(end - start)
    path.write_bytes(content)
    return f"zeros from {start} to {end}"


def swap(path: Path, draw: Random) -> str:
    """Put another file of the trial here."""
    others = sorted(other for other in path.parents[1].rglob("*") if other.is_file() and other != path)
    other = draw.choice(others or [path])
    path.write_bytes(other.read_bytes())
    return f"replaced by {other.name}"


def not_text(path: Path, draw: Random) -> str:
    """Put bytes there that are no text, or another encoding's."""
    content = path.read_bytes()
    path.write_bytes(
        draw.choice(
            [
                content.decode(errors="replace").encode("utf-16"),
                b"\xff\xfe\x00",
                b"\xef\xbb\xbf" + content,
                content.replace(b"a", b"\xff"),
            ]
        )
    )
    return "not in UTF-8"


def poison(path: Path, draw: Random) -> str:
    """Put a pickle there that runs a program, plain or as torch saves one."""
    pickled = pickle.dumps(_Poison(), protocol=2)
    if draw.random() < 0.5:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
            archive.writestr("archive/version", "3\n")
        pickled = packed.getvalue()
    path.write_bytes(pickled)
    return "a pickle that runs a program"


def bomb(path: Path, draw: Random) -> str:
    """Put a small file there that unpacks to a gigabyte, in the way that torch saves."""
    path.write_bytes(_zip_of_a_gigabyte())
    return "a zip of a gigabyte of zeros"


@cache
def _zip_of_a_gigabyte() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", _tensor_of_a_gigabyte())
        archive.writestr("archive/version", "3\n")
        with archive.open("archive/data/0", "w") as file:
            for _ in range(1024):
                file.write(bytes(1 << 20))
    return packed.getvalue()


def _tensor_of_a_gigabyte() -> bytes:
    """A state dict of one tensor, as a pickle that torch reads."""
    storage = (
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ\x00\x00\x00\x10tQ"
    )
    shape = b"K\x00J\x00\x00\x00\x10\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}X\x08\x00\x00\x00a.weightctorch._utils\n_rebuild_tensor_v2\n(" + storage + shape + b"s."


BYTES = (flip_bits, cut, add_bytes, zeros, swap, not_text, poison)
