"""Images of every kind that people have: read as they are meant, or one sentence, by a plan if the header tells."""

from __future__ import annotations

import io
import struct
import zlib
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from tests.support.image_sets import write_shards
from workers.data import DataError, find_source, fingerprint, open_data
from workers.data.images.crops import Request
from workers.data.images.encoded import FilePictures, decode_rgb
from workers.data.images.streaming import DeviceReader, ProcessReader

GREY = np.array([[0, 128, 255], [7, 64, 200]], dtype=np.uint16)


def pictures(folder: Path, content: bytes) -> FilePictures:
    (folder / "a.img").write_bytes(content)
    return FilePictures(folder, np.array([b"a.img"]), np.array([0]))


def encoded(pixels: np.ndarray[Any, Any], format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format_, **options)
    return buffer.getvalue()


def tiff(width: int, bits: int, content: bytes, *, photometric: int = 1, sample_format: int = 1) -> bytes:
    """A TIFF of one row, of kinds that no library here writes."""
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 8 + 2 + 10 * 12 + 4, 277: 1, 278: 1}
    tags |= {279: len(content), 339: sample_format}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + content


def png(width: int, height: int) -> bytes:
    """A PNG that ends after its header."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + b"\0\0\0\0IDAT"
    )


def frames(format_: str, *sizes: int, **options: Any) -> bytes:
    """Several pictures in one file."""
    first, *others = (Image.new("RGB", (size, size), (50 * number, 0, 0)) for number, size in enumerate(sizes))
    buffer = io.BytesIO()
    first.save(buffer, format_, save_all=True, append_images=others, **options)
    return buffer.getvalue()


def with_reduced_copy() -> bytes:
    """A TIFF of two pages, of which the second says that it is a smaller copy."""
    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer) as pages:
        for number, size in enumerate((8, 4)):
            Image.new("RGB", (size, size)).save(pages, "tiff", tiffinfo={254: number})
            pages.newFrame()
    return buffer.getvalue()


def write_scans(root: Path, name: str, content: bytes) -> None:
    """A folder of two classes, whose last test image is of this name and content."""
    for split, class_ in product(("train", "val"), ("dark", "light")):
        folder = root / "scans" / split / class_
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(encoded(GREY.astype(np.uint8), "png"))
    (root / "scans/val/light/a.png").unlink()
    (root / "scans/val/light" / name).write_bytes(content)


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
        (encoded(GREY.astype(np.int32), "tiff"), "signed 32-bit"),
        (tiff(4, 12, b"\xff\xf0\x00\x12\x34\x56"), "12-bit"),
        (tiff(3, 8, b"\x00\x80\xff", sample_format=2), "signed 8-bit"),
        (tiff(3, 16, bytes(6), sample_format=2), "signed 16-bit"),
        (b"Pf\n3 1\n-1.0\n" + np.array([0, 0.5, 1], "<f4").tobytes(), "floating-point"),
    ],
    ids=["float to 1", "float to 255", "int32", "12 bits", "int8", "int16", "pfm"],
)
def test_pixels_of_an_unknown_range_are_refused(content: bytes, kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"a.img: not a readable image: its pixels are {kind} numbers, whose range"):
        decode_rgb(pictures(tmp_path, content), 0)


@pytest.mark.parametrize(
    "content",
    [encoded(np.array([[1000, 2000], [3000, 4095]], np.uint16), "png"), tiff(2, 16, b"\xe8\x03\xff\x0f")],
    ids=["png", "tiff"],
)
def test_sixteen_bits_go_from_0_to_65535_whatever_is_in_use(content: bytes, tmp_path: Path) -> None:
    assert np.asarray(decode_rgb(pictures(tmp_path, content), 0)).max() == 4095 >> 8


PALETTE = Image.new("P", (3, 2), 1)
PALETTE.putpalette([0, 0, 0, 10, 20, 30])


@pytest.mark.parametrize(
    ("image", "format_", "colour"),
    [
        (Image.new("1", (3, 2), 1), "png", (255, 255, 255)),
        (Image.new("LA", (3, 2), (90, 10)), "png", (90, 90, 90)),  # without the alpha, as torchvision's loader
        (Image.new("RGBA", (3, 2), (10, 20, 30, 0)), "png", (10, 20, 30)),
        (PALETTE, "png", (10, 20, 30)),
        (Image.new("CMYK", (3, 2), (255, 0, 0, 0)), "tiff", (0, 255, 255)),
        (Image.new("I;16B", (3, 2), 0x1234), "tiff", (0x12, 0x12, 0x12)),
    ],
    ids=lambda value: getattr(value, "mode", None),
)
def test_every_mode_becomes_rgb(image: Image.Image, format_: str, colour: tuple[int, int, int], tmp_path: Path) -> None:
    buffer = io.BytesIO()
    image.save(buffer, format_)
    assert decode_rgb(pictures(tmp_path, buffer.getvalue()), 0).getpixel((2, 1)) == colour


REFUSED = {
    "png of 10 gigapixels": (png(100_000, 100_000), "it has more than 178,956,970 pixels, the most that are read"),
    "jpeg of 4 gigapixels": (
        encoded(GREY.astype(np.uint8), "jpeg").replace(b"\0\x0b\x08\0\x02\0\x03", b"\0\x0b\x08\xff\xff\xff\xff"),
        "it has more than 178,956,970 pixels",
    ),
    "inverted": (tiff(3, 16, bytes(6), photometric=0), "0 is white in its 16 bits; save it so that 0 is black"),
    "animated gif": (frames("gif", 8, 8, 8), "it has 3 frames or pages, and one of them is meant"),
    "animated png": (frames("png", 8, 8), "it has 2 frames or pages"),
    "animated webp": (frames("webp", 8, 8), "it has 2 frames or pages"),
    "pages": (frames("tiff", 8, 8), "it has 2 frames or pages"),
    "html": (b"<html>404 Not Found</html>", "of no known format"),
    "empty": (b"", "empty"),
    "floats": (encoded(GREY.astype(np.float32), "tiff"), "its pixels are floating-point numbers"),
}


@pytest.mark.parametrize("name", ["b.jpg", "b.png", "b.tif"])
@pytest.mark.parametrize(("content", "why"), REFUSED.values(), ids=REFUSED)
def test_what_a_header_tells_is_refused_by_a_plan_whatever_the_name(
    content: bytes, why: str, name: str, tmp_path: Path
) -> None:
    write_scans(tmp_path, name, content)
    with pytest.raises(DataError, match=rf"val/light/{name}: not a readable image: {why}"):
        find_source("imagefolder:scans", tmp_path, tmp_path / "cache")
    with pytest.raises(DataError, match=rf"{name}: not a readable image: {why}"):
        decode_rgb(FilePictures(tmp_path / "scans/val/light", np.array([name.encode()]), np.array([0])), 0)


def test_the_number_of_refused_images_is_told(tmp_path: Path) -> None:
    write_scans(tmp_path, "b.png", b"no image")
    (tmp_path / "scans/train/light/b.png").write_bytes(b"no image either")
    with pytest.raises(DataError, match=r"train/light/b\.png: .* \(files with a fault: 2\)"):
        find_source("imagefolder:scans", tmp_path, tmp_path / "cache")


def test_images_in_parquet_are_refused_when_they_are_extracted(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        contents = [encoded(GREY.astype(np.uint8), "png")] * 1000
        contents[500] = frames("gif", 8, 8) if split == "validation" else contents[500]
        write_shards(tmp_path / "imagenet", split, contents, list(range(1000)), shards=1)
    key = fingerprint("imagenet", tmp_path, tmp_path / "cache")
    with pytest.raises(DataError, match=r"validation-.*parquet, row 500: .* it has 2 frames or pages"):
        open_data("imagenet", key, tmp_path, tmp_path / "cache")


@pytest.mark.parametrize("content", [frames("mpo", 8, 4), with_reduced_copy()], ids=["mpo", "tiff"])
def test_copies_of_the_same_picture_in_its_file_are_ignored(content: bytes, tmp_path: Path) -> None:
    assert decode_rgb(pictures(tmp_path, content), 0).size == (8, 8)


@pytest.mark.parametrize("kind", ["pil", "batched"])
def test_an_orientation_in_exif_turns_nothing(kind: str, tmp_path: Path) -> None:
    """As torchvision's loader; TorchCodec's decoder turns the image, as does the one here."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(np.repeat([[0, 128, 255]], 2, axis=0).repeat(8, 0).repeat(8, 1).astype(np.uint8)).save(
        buffer, "jpeg", exif=exif
    )
    held = pictures(tmp_path, buffer.getvalue())

    def turning(images: list[Tensor]) -> list[Tensor]:
        return [decode_jpeg(image, ImageReadMode.RGB, apply_exif_orientation=True) for image in images]

    cpu = torch.device("cpu")
    reader = ProcessReader(held, cpu, 0) if kind == "pil" else DeviceReader(held, cpu, turning)
    (image,) = next(reader.batches([Request(np.array([0]), (16, 16))]))
    assert image[0, 8, 0] < 64 < 192 < image[0, 8, 15]  # still dark on the left


def test_a_folder_of_one_class_is_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / "one" / split / "all").mkdir(parents=True)
        (tmp_path / "one" / split / "all" / "a.png").write_bytes(encoded(GREY.astype(np.uint8), "png"))
    with pytest.raises(DataError, match="imagefolder:one: 1 class, of which every network is right"):
        open_data("imagefolder:one", fingerprint("imagefolder:one", tmp_path, tmp_path), tmp_path, tmp_path / "cache")
