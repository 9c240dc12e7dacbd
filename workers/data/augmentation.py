"""Augmentations as values, and the random draws behind them; each equals torchvision's transform for the same draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from workers.devices.seeds import generator
from workers.stages import Augmentation

ASPECT_RATIOS = (3 / 4, 4 / 3)
CROP_ATTEMPTS = 10


@dataclass(frozen=True)
class CropFlip:
    """RandomCrop(size, padding) and RandomHorizontalFlip; zeros are padded before anything is normalised."""

    padding: int = 4


@dataclass(frozen=True)
class ResizedCropFlip:
    """RandomResizedCrop(size, scale=(smallest, 1)) and RandomHorizontalFlip.

    Attributes:
        smallest: least share of the image's area that is cropped.
    """

    smallest: float


AUGMENTATIONS: Mapping[Augmentation, CropFlip | ResizedCropFlip | None] = {
    "none": None,
    "crop_flip": CropFlip(),
    "half_resized_crop_flip": ResizedCropFlip(0.5),
    "resized_crop_flip": ResizedCropFlip(0.08),
}


@dataclass(frozen=True)
class Draws:
    """The random choices of one epoch, or of a batch of it.

    Attributes:
        order: int64 (images,), which image comes when.
        geometry: (images, k): the crop's offset (top, left) for CropFlip; for ResizedCropFlip 22 uniform numbers,
            or, once the image's size is known, the box (top, left, height, width); k is 0 without augmentation.
        flip: bool (images,).
    """

    order: Tensor
    geometry: Tensor
    flip: Tensor

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, chosen: slice) -> Draws:
        return Draws(self.order[chosen], self.geometry[chosen], self.flip[chosen])

    def batches(self, batch_size: int, first: int = 0) -> Iterator[Draws]:
        """Consecutive batches from number ``first`` on; the last one holds what is left."""
        for start in range(first * batch_size, len(self), batch_size):
            yield self[start : start + batch_size]

    def to(self, device: torch.device) -> Draws:
        """The same draws on a device."""
        return Draws(self.order.to(device), self.geometry.to(device), self.flip.to(device))


def draw_epoch(images: int, sgd_seed: int, epoch: int, augmentation: Augmentation) -> Draws:
    """The choices of one epoch, a function of seed and epoch alone; drawn on the CPU for every device."""
    stream = generator(sgd_seed, "epoch", epoch)
    order = torch.randperm(images, generator=stream)
    match AUGMENTATIONS[augmentation]:
        case None:
            return Draws(order, torch.empty(images, 0), torch.zeros(images, dtype=torch.bool))
        case CropFlip(padding):
            geometry = torch.randint(0, 2 * padding + 1, (2, images), generator=stream).T
        case ResizedCropFlip():
            geometry = torch.rand(images, 2 * CROP_ATTEMPTS + 2, generator=stream)
    return Draws(order, geometry, torch.rand(images, generator=stream) < 0.5)


def resized_crop_boxes(uniforms: Tensor, heights: Tensor, widths: Tensor, smallest: float) -> Tensor:
    """Boxes as torchvision's RandomResizedCrop.get_params finds them: ten attempts, else the centre.

    Args:
        uniforms: float32 (images, 22) in [0, 1): ten for the area, ten for the aspect ratio, two for the place.
        heights, widths: int64 (images,), of the images in pixels.

    Returns:
        int64 (images, 4): top, left, height, width.
    """
    scale = smallest + uniforms[:, :CROP_ATTEMPTS] * (1 - smallest)
    low, high = torch.log(torch.tensor(ASPECT_RATIOS)).tolist()
    ratio = torch.exp(low + uniforms[:, CROP_ATTEMPTS : 2 * CROP_ATTEMPTS] * (high - low)).double()
    area = (heights * widths)[:, None] * scale.double()
    w, h = torch.sqrt(area * ratio).round().long(), torch.sqrt(area / ratio).round().long()
    fits = (w > 0) & (w <= widths[:, None]) & (h > 0) & (h <= heights[:, None])
    attempt = fits.int().argmax(1, keepdim=True)
    w, h = w.gather(1, attempt).squeeze(1), h.gather(1, attempt).squeeze(1)
    place = uniforms[:, -2:].double()
    top, left = (place[:, 0] * (heights - h + 1)).long(), (place[:, 1] * (widths - w + 1)).long()
    drawn = torch.stack((top, left, h, w), 1)
    return torch.where(fits.any(1)[:, None], drawn, _central_boxes(heights, widths))


def _central_boxes(heights: Tensor, widths: Tensor) -> Tensor:
    """The largest central boxes within the aspect ratios."""
    low, high = ASPECT_RATIOS
    h = torch.minimum(heights, (widths / low).round().long())
    w = torch.minimum(widths, (heights * high).round().long())
    return torch.stack(((heights - h) // 2, (widths - w) // 2, h, w), 1)


def placed(draws: Draws, augmentation: Augmentation, height: int, width: int) -> Draws:
    """The draws for images that all have one size: uniform numbers become boxes."""
    match AUGMENTATIONS[augmentation]:
        case ResizedCropFlip(smallest):
            heights, widths = torch.full((len(draws),), height), torch.full((len(draws),), width)
            return replace(draws, geometry=resized_crop_boxes(draws.geometry, heights, widths, smallest))
        case _:
            return draws


def augmented(images: Tensor, draws: Draws, augmentation: Augmentation) -> Tensor:
    """uint8 images (batch, channels, height, width) under a batch's placed draws; a few operations on their device."""
    match AUGMENTATIONS[augmentation]:
        case None:
            return images
        case CropFlip(padding):
            cropped = _cropped(images, draws.geometry, padding)
        case ResizedCropFlip():
            cropped = _resized_to_full(images, draws.geometry)
    return flipped(cropped, draws.flip)


def flipped(images: Tensor, flip: Tensor) -> Tensor:
    """The images, mirrored left to right where ``flip`` says so."""
    return torch.where(flip.view(-1, 1, 1, 1), images.flip(3), images)


def _cropped(images: Tensor, offsets: Tensor, padding: int) -> Tensor:
    height, width = images.shape[2:]
    windows = F.pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    rows = torch.arange(len(images), device=images.device)
    return windows[rows, :, offsets[:, 0], offsets[:, 1]]


def _resized_to_full(images: Tensor, boxes: Tensor) -> Tensor:
    """Each image's box resized bilinearly to the image's own size, so never shrunk: no antialiasing is needed."""
    height, width = images.shape[2:]
    top, left, box_height, box_width = boxes.float().unbind(1)
    y = _source_positions(top, box_height, height)
    x = _source_positions(left, box_width, width)
    grid = torch.stack(
        torch.broadcast_tensors(_normalized(x, width)[:, None, :], _normalized(y, height)[:, :, None]), -1
    )
    return F.grid_sample(images.float(), grid, align_corners=False).round_().to(torch.uint8)


def _source_positions(start: Tensor, length: Tensor, out: int) -> Tensor:
    """Where each output pixel's centre lies in the image, kept inside the box, whose edge is replicated."""
    centres = (torch.arange(out, device=start.device) + 0.5) / out
    inside = (start[:, None] + centres * length[:, None] - 0.5).clamp_min(start[:, None])
    return torch.minimum(inside, (start + length - 1)[:, None])


def _normalized(positions: Tensor, size: int) -> Tensor:
    return (2 * positions + 1) / size - 1
