"""Open encoded images, and refuse those whose header tells that they would be read wrong or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from workers.data.images import jpeg

MOST_PIXELS = 178_956_970
"""Pixels of the largest image that is read, above which Pillow raises an error; it warns from half as many on."""
SUBFILE_TYPE, BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 254, 258, 262, 339  # tags of TIFF
REDUCED, WHITE_IS_ZERO, SIGNED = 1, 0, 2  # values of the first, third and fourth

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@contextmanager
def opened(file: Path | BinaryIO) -> Iterator[Image.Image]:
    """Open an image of any format, told by its content, without decoding it.

    Raises:
        ValueError: the image is not read, for the reason that its message gives.
        Exception: Pillow raises a dozen types of errors for damaged content.
    """
    with Image.open(file) as image:
        _check_range(image)
        _check_frames(image)
        yield image


def header_fault(head: bytes, file: Path | BinaryIO) -> str | None:
    """Say why an image is not read, as far as its header tells; None if nothing is wrong with that.

    A JPEG, of which a folder may have a million, is judged by ``head`` alone: its first bytes.
    """
    try:
        if head.startswith(jpeg.START):
            frame = jpeg.frame_of(head)
            if frame is not None and frame.height * frame.width > MOST_PIXELS:
                raise Image.DecompressionBombError
        else:
            with opened(file):
                pass
    except MemoryError:
        raise
    except Exception as error:
        return fault_of(error, empty=not head)
    return None


def fault_of(error: Exception, *, empty: bool) -> str:
    """What is wrong with an image of which Pillow, or ``opened``, raised an error."""
    if empty:
        return "not a readable image: empty"
    match error:
        case UnidentifiedImageError():
            fault = "of no known format"
        case Image.DecompressionBombError():
            fault = f"it has more than {MOST_PIXELS:,} pixels, the most that are read; make it smaller"
        case _:
            fault = str(error)
    return f"not a readable image: {fault}"


def _check_range(image: Image.Image) -> None:
    """Raise ValueError unless an image's pixels go from 0 to 255, or from 0 to 65535 as those of 16 bits do."""
    tags = dict(getattr(image, "tag_v2", {}))
    bits = tags.get(BITS_PER_SAMPLE, (32 if image.mode == "I" else 16,))[0]
    signed = SIGNED in tags.get(SAMPLE_FORMAT, ())
    if image.mode[0] not in "IF" and not signed:
        return
    if image.mode.startswith("I;16") and bits == 16:
        if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow inverts those of 8 bits only
            raise ValueError("0 is white in its 16 bits; save it so that 0 is black")
        return
    if image.mode == "I" and image.format in ("PNG", "PPM"):  # Pillow scales a PGM's pixels by its own maximum
        return
    kind = "floating-point" if image.mode == "F" else f"{'signed ' if signed else ''}{bits}-bit"
    raise ValueError(f"its pixels are {kind} numbers, whose range the file does not tell; convert it to 8 bits")


def _check_frames(image: Image.Image) -> None:
    """Raise ValueError for an animation or several pages, of which Pillow would read the first.

    A camera's further JPEGs in one file and a TIFF's smaller copies are versions of the same picture.
    """
    frames = getattr(image, "n_frames", 1)
    if frames == 1 or image.format == "MPO":
        return
    if image.format == "TIFF":
        copies = (_is_reduced(image, page) for page in range(1, frames))
        if all(copies):
            image.seek(0)
            return
    raise ValueError(f"it has {frames} frames or pages, and one of them is meant; save that one as a file of its own")


def _is_reduced(image: Image.Image, page: int) -> bool:
    image.seek(page)
    return bool(dict(getattr(image, "tag_v2", {})).get(SUBFILE_TYPE, 0) & REDUCED)
