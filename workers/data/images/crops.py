"""Crop and resize images as a request says: random crops of training images, central crops of test images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as views

from workers.data.augmentation import flipped, resized_crop_boxes
from workers.data.images import jpeg
from workers.data.images.centre import centre_crop
from workers.data.images.encoded import Pictures, decode_rgb, read_encoded
from workers.data.images.headers import MOST_PIXELS

IMAGES_AT_ONCE = 32  # whose encoded bytes, or pixels if they are no JPEGs, a process holds


@dataclass(frozen=True)
class Request:
    """A batch to load.

    Attributes:
        rows: indices of the pictures.
        size: (height, width) of the result, in pixels.
        crops: random crops; None for the central crop of a test.
        mirrored: whether to mirror each image; bool (batch,). None mirrors none.
    """

    rows: NDArray[np.int64]
    size: tuple[int, int]
    crops: RandomCrops | None = None
    mirrored: NDArray[np.bool_] | None = None


class RandomCrops(NamedTuple):
    """The draws of torchvision's RandomResizedCrop.

    Attributes:
        uniforms: random numbers in [0, 1), float32 (batch, 22).
        smallest: smallest share of the area that a crop takes.
    """

    uniforms: NDArray[np.float32]
    smallest: float

    def boxes(self, sizes: Sequence[tuple[int, int]], first: int = 0) -> list[list[int]]:
        """Boxes (top, left, height, width) in images of these sizes (height, width), from image ``first`` on."""
        heights, widths = torch.tensor(sizes).unbind(1)
        uniforms = torch.from_numpy(self.uniforms[first : first + len(sizes)])
        return resized_crop_boxes(uniforms, heights, widths, self.smallest).tolist()


def decoded_views(images: Sequence[Tensor], request: Request) -> Tensor:
    """Crop, resize and mirror decoded images, as torchvision's transforms of tensors do.

    Args:
        images: uint8 (3, height, width) on any device, one for each row of the request.

    Returns:
        uint8 (batch, 3, height, width), on the images' device.
    """
    size, mirrored = list(request.size), None
    if request.mirrored is not None:  # copied before the crops are queued, for which a GPU's copy would wait
        mirrored = torch.from_numpy(request.mirrored).to(images[0].device)
    if request.crops is None:
        cropped = torch.stack([centre_crop(image, size) for image in images])
    else:
        boxes = request.crops.boxes([(image.shape[1], image.shape[2]) for image in images])
        pairs = zip(images, boxes, strict=True)
        cropped = torch.stack([views.resized_crop(image, *box, size) for image, box in pairs])
    return cropped if mirrored is None else flipped(cropped, mirrored)


def pil_views(pictures: Pictures, request: Request) -> NDArray[np.uint8]:
    """Read, decode, crop, resize and mirror a request's pictures, as torchvision's transforms of PIL images do.

    Returns:
        uint8 (batch, height, width, 3).

    Raises:
        DataError: a picture is unreadable; the message names it.
    """
    loaded = np.empty((len(request.rows), *request.size, 3), np.uint8)
    for slot, image in enumerate(_pil_crops(pictures, request)):
        mirrored = request.mirrored is not None and request.mirrored[slot]
        loaded[slot] = np.asarray(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image)
    return loaded


def _pil_crops(pictures: Pictures, request: Request) -> Iterator[Image.Image]:
    size = list(request.size)
    if request.crops is None:
        for row in request.rows:
            yield centre_crop(decode_rgb(pictures, int(row)), size)
        return
    for first in range(0, len(request.rows), IMAGES_AT_ONCE):
        sources = [_Source.read(pictures, int(row)) for row in request.rows[first : first + IMAGES_AT_ONCE]]
        boxes = request.crops.boxes([source.size for source in sources], first)
        for source, (top, left, height, width) in zip(sources, boxes, strict=True):
            crop = source.decoded(top + height).crop((left, top, left + width, top + height))
            yield crop.resize((size[1], size[0]), Image.Resampling.BILINEAR)


@dataclass(frozen=True)
class _Source:
    """A picture whose size (height, width) is known, so that its box is drawn before it is decoded."""

    pictures: Pictures
    row: int
    content: bytes
    size: tuple[int, int]
    image: Image.Image | None  # decoded already, since only its decoder tells its size

    @classmethod
    def read(cls, pictures: Pictures, row: int) -> _Source:
        content = read_encoded(pictures, row)
        frame = jpeg.frame_of(content) if jpeg.is_plain(content, MOST_PIXELS) else None
        if frame is not None and frame.height and frame.width:
            return cls(pictures, row, content, (frame.height, frame.width), None)
        image = decode_rgb(pictures, row, content)
        return cls(pictures, row, b"", (image.height, image.width), image)

    def decoded(self, bottom: int) -> Image.Image:
        """The image, at least down to row ``bottom``, which is left out."""
        if self.image is not None:
            return self.image
        return decode_rgb(self.pictures, self.row, jpeg.cut_below(self.content, bottom))
