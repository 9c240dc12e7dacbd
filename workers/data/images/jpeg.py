"""Read the header of a JPEG: its size, and what decoders make of it; cut off the rows that nobody needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

START, END = b"\xff\xd8", b"\xff\xd9"
EXIF, COMMENT, SCAN = 0xE1, 0xFE, 0xDA
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
SEQUENTIAL = frozenset({0xC0, 0xC1})
ROWS_BELOW = 4  # libjpeg blends a row's colours with the next row of colours, which may span four rows of pixels


class Frame(NamedTuple):
    """What a JPEG's frame header tells: height and width in pixels, and the number of colour components."""

    height: int
    width: int
    components: int


def frame_of(content: bytes) -> Frame | None:
    """The frame header of a JPEG, from its first bytes; None if they do not reach it."""
    for marker, position in _segments(content):
        if marker in FRAMES:
            height, width = (int.from_bytes(content[position + at : position + at + 2], "big") for at in (5, 7))
            return Frame(height, width, content[position + 9])
    return None


def is_plain(content: bytes, most_pixels: int) -> bool:
    """Whether the bytes are a complete JPEG of one or three components and at most ``most_pixels``."""
    if not content.startswith(START) or not content.endswith(END):
        return False
    frame = frame_of(content)
    return frame is not None and frame.components in (1, 3) and frame.height * frame.width <= most_pixels


def cut_below(content: bytes, row: int) -> bytes:
    """A JPEG whose decoder stops soon below ``row``: its rows above are the same, and its height is at least ``row``.

    Only the frame header changes. A JPEG that is not sequential is returned as it is.
    """
    for marker, position in _segments(content):
        if marker in SEQUENTIAL:
            at = position + 5
            height = min(int.from_bytes(content[at : at + 2], "big"), row + ROWS_BELOW)
            return b"".join((content[:at], height.to_bytes(2, "big"), content[at + 2 :]))
    return content


def without_exif(content: bytes) -> bytearray:
    """A copy of a JPEG whose Exif data are a comment: TorchCodec turns an image as they say, and Pillow does not."""
    copy = bytearray(content)
    for marker, position in _segments(content):
        if marker == EXIF:
            copy[position + 1] = COMMENT
    return copy


def _segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Marker and position of the segments before the first scan."""
    position = len(START)
    while position + 9 < len(content) and content[position] == 0xFF and content[position + 1] != SCAN:
        yield content[position + 1], position
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
