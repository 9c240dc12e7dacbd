"""Augmentations and their random draws. Each augmentation equals torchvision's transform for the same draws."""

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
BATCHES_AT_ONCE = 64
BYTES_AT_ONCE = 2**27


@dataclass(frozen=True)
class CropFlip:
    """RandomCrop(size, padding) and RandomHorizontalFlip; zeros are padded, in pixels, before normalisation."""

    padding: int


@dataclass(frozen=True)
class ResizedCropFlip:
    """RandomResizedCrop(size, scale=(smallest, 1)) and RandomHorizontalFlip; ``smallest`` is a share of the area."""

    smallest: float


AUGMENTATIONS: Mapping[Augmentation, CropFlip | ResizedCropFlip | None] = {
    "none": None,
    "crop_flip": CropFlip(padding=4),
    "crop_flip_2": CropFlip(padding=2),
    "half_resized_crop_flip": ResizedCropFlip(0.5),
    "resized_crop_flip": ResizedCropFlip(0.08),
}


@dataclass(frozen=True)
class Draws:
    """The random draws of an epoch or a batch.

    Attributes:
        order: image numbers, in the order of training; int64 (images,).
        geometry: (images, k). For CropFlip the crop's offset (top, left). For ResizedCropFlip 22 uniform numbers or,
            once the image's size is known, the box (top, left, height, width). Without augmentation, k is 0.
        flip: whether to mirror each image; bool (images,).
    """

    order: Tensor
    geometry: Tensor
    flip: Tensor

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, part: slice) -> Draws:
        return Draws(self.order[part], self.geometry[part], self.flip[part])

    def batches(self, batch_size: int, first: int = 0) -> Iterator[Draws]:
        """Consecutive batches from number ``first`` on; the last batch may be smaller."""
        for start in range(first * batch_size, len(self), batch_size):
            yield self[start : start + batch_size]

    def to(self, device: torch.device) -> Draws:
        """The same draws on a device."""
        return Draws(self.order.to(device), self.geometry.to(device), self.flip.to(device))


def draw_epoch(images: int, sgd_seed: int, epoch: int, augmentation: Augmentation) -> Draws:
    """Draw an epoch: a function of its arguments alone, drawn on the CPU for every device."""
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
    """Boxes as torchvision's RandomResizedCrop.get_params draws them: ten attempts, then the centre.

    Args:
        uniforms: float32 (images, 22) in [0, 1): ten for the area, ten for the aspect ratio, two for the position.
        heights, widths: sizes of the images in pixels; int64 (images,).

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
    position = uniforms[:, -2:].double()
    top, left = (position[:, 0] * (heights - h + 1)).long(), (position[:, 1] * (widths - w + 1)).long()
    drawn = torch.stack((top, left, h, w), 1)
    return torch.where(fits.any(1)[:, None], drawn, _central_boxes(heights, widths))


def _central_boxes(heights: Tensor, widths: Tensor) -> Tensor:
    """The largest central boxes within the aspect ratios."""
    low, high = ASPECT_RATIOS
    h = torch.minimum(heights, (widths / low).round().long())
    w = torch.minimum(widths, (heights * high).round().long())
    return torch.stack(((heights - h) // 2, (widths - w) // 2, h, w), 1)


def placed(draws: Draws, augmentation: Augmentation, height: int, width: int) -> Draws:
    """The draws for images of one size: uniform numbers become boxes."""
    match AUGMENTATIONS[augmentation]:
        case ResizedCropFlip(smallest):
            heights, widths = torch.full((len(draws),), height), torch.full((len(draws),), width)
            return replace(draws, geometry=resized_crop_boxes(draws.geometry, heights, widths, smallest))
        case _:
            return draws


def augmented(images: Tensor, draws: Draws, augmentation: Augmentation) -> Tensor:
    """Augment uint8 images (batch, channels, height, width) by a batch's placed draws, on the images' device."""
    match AUGMENTATIONS[augmentation]:
        case None:
            return images
        case CropFlip(padding):
            cropped = _cropped(images, draws.geometry, padding)
        case ResizedCropFlip():
            cropped = _resized_to_full(images, draws.geometry)
    return flipped(cropped, draws.flip)


def batches_at_once(device: torch.device, batch_values: int, augmentation: Augmentation) -> int:
    """Number of batches to augment together: the numbers are the same, and launches on a GPU fewer.

    Packed trainings launch their operations in turn. On a CPU, one batch stays in its caches.

    Args:
        batch_values: uint8 values in a batch of images; large images are augmented in fewer batches, to save memory.
    """
    if device.type == "cpu":
        return 1
    match AUGMENTATIONS[augmentation]:
        case None:
            bytes_per_value = 1
        case CropFlip():
            bytes_per_value = 4  # the images, cropped, mirrored, and chosen of the two
        case ResizedCropFlip():
            bytes_per_value = 12  # float32 images and results, and where each pixel comes from
    return max(1, min(BATCHES_AT_ONCE, BYTES_AT_ONCE // (bytes_per_value * batch_values)))


def flipped(images: Tensor, flip: Tensor) -> Tensor:
    """The images, mirrored left to right where ``flip`` is true."""
    return torch.where(flip.view(-1, 1, 1, 1), images.flip(3), images)


def _cropped(images: Tensor, offsets: Tensor, padding: int) -> Tensor:
    height, width = images.shape[2:]
    windows = F.pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    rows = torch.arange(len(images), device=images.device)
    return windows[rows, :, offsets[:, 0], offsets[:, 1]]


def _resized_to_full(images: Tensor, boxes: Tensor) -> Tensor:
    """Resize each image's box bilinearly to the image's size. Boxes never shrink, so no antialiasing is needed."""
    height, width = images.shape[2:]
    top, left, box_height, box_width = boxes.float().unbind(1)
    y = _source_positions(top, box_height, height)
    x = _source_positions(left, box_width, width)
    grid = torch.stack(
        torch.broadcast_tensors(_normalized(x, width)[:, None, :], _normalized(y, height)[:, :, None]), -1
    )
    return F.grid_sample(images.float(), grid, align_corners=False).round_().to(torch.uint8)


def _source_positions(start: Tensor, length: Tensor, out: int) -> Tensor:
    """Position of each output pixel's centre in the image, clamped to the box, whose edge is replicated."""
    centres = (torch.arange(out, device=start.device) + 0.5) / out
    inside = (start[:, None] + centres * length[:, None] - 0.5).clamp_min(start[:, None])
    return torch.minimum(inside, (start + length - 1)[:, None])


def _normalized(positions: Tensor, size: int) -> Tensor:
    return (2 * positions + 1) / size - 1
