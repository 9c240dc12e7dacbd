"""Images with more than 8 bits: read where the file tells their range, else one sentence."""

from __future__ import annotations

import io
import struct
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from workers.data import DataError, fingerprint, open_data
from workers.data.images.encoded import FilePictures, decode_rgb

GREY = np.array([[0, 128, 255], [7, 64, 200]], dtype=np.uint16)


def pictures(folder: Path, content: bytes) -> FilePictures:
    (folder / "a.img").write_bytes(content)
    return FilePictures(folder, np.array([b"a.img"]), np.array([0]))


def encoded(pixels: np.ndarray[Any, Any], format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format_, **options)
    return buffer.getvalue()


def twelve_bits() -> bytes:
    """A TIFF of 4x1 pixels of 12 bits each, which no library here writes."""
    tags = {256: 4, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8 + 2 + 9 * 12 + 4, 277: 1, 278: 1, 279: 6}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + b"\xff\xf0\x00\x12\x34\x56"


@pytest.mark.parametrize(
    "content",
    [
        encoded(GREY * 257, "png"),
        encoded(GREY * 257, "tiff"),
        b"P5 3 2 65535\n" + (GREY * 257).astype(">u2").tobytes(),
        encoded(GREY.astype(np.uint8), "png"),
        encoded(GREY.astype(np.uint8), "tiff"),
    ],
    ids=["png of 16 bits", "tiff of 16 bits", "pgm of 16 bits", "png", "tiff"],
)
def test_the_same_picture_has_the_same_pixels_at_any_known_depth(content: bytes, tmp_path: Path) -> None:
    assert np.array_equal(np.asarray(decode_rgb(pictures(tmp_path, content), 0))[..., 0], GREY)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (encoded(GREY.astype(np.float32) / 255, "tiff"), "floating-point"),
        (encoded(GREY.astype(np.float32), "tiff"), "floating-point"),
        (encoded(GREY.astype(np.int32), "tiff"), "32-bit"),
        (twelve_bits(), "12-bit"),
    ],
    ids=["float to 1", "float to 255", "int32", "12 bits"],
)
def test_pixels_of_an_unknown_range_are_refused(content: bytes, kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"a.img: not a readable image: its pixels are {kind} numbers, whose range"):
        decode_rgb(pictures(tmp_path, content), 0)


def test_a_folder_with_such_a_picture_is_refused_before_any_stage(tmp_path: Path) -> None:
    for number, (split, class_) in enumerate(product(("train", "val"), ("dark", "light"))):
        folder = tmp_path / "scans" / split / class_
        folder.mkdir(parents=True)
        (folder / "a.tif").write_bytes(encoded(GREY.astype(np.float32 if number == 3 else np.uint8), "tiff"))
    key = fingerprint("imagefolder:scans", tmp_path, tmp_path / "cache")
    with pytest.raises(DataError, match=r"val/light/a\.tif: .* its pixels are floating-point numbers"):
        open_data("imagefolder:scans", key, tmp_path, tmp_path / "cache")


def test_a_folder_of_one_class_is_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / "one" / split / "all").mkdir(parents=True)
        (tmp_path / "one" / split / "all" / "a.png").write_bytes(encoded(GREY.astype(np.uint8), "png"))
    with pytest.raises(DataError, match="imagefolder:one: 1 class, of which every network is right"):
        open_data("imagefolder:one", fingerprint("imagefolder:one", tmp_path, tmp_path), tmp_path, tmp_path / "cache")
