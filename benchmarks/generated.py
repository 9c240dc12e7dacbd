"""Generate images for speed measurements: small ones as arrays, large ones as JPEGs."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from workers.data.batches import ResidentSplit
from workers.data.images.encoded import FilePictures
from workers.data.splits import Splits
from workers.devices.seeds import generator

PIXEL_MEAN, PIXEL_STD = 0.5, 0.25
JPEG_SIZES = ((500, 375), (500, 375), (375, 500), (500, 333), (640, 480), (400, 300))
JPEG_QUALITY = 90
JPEG_NOISE = 16.0  # in levels of 255; it gives a 500x375 JPEG about 100 kB, near ImageNet's mean
DIFFERENT_JPEGS = 48


@dataclass(frozen=True)
class LabelledImages:
    """uint8 images (images, 3, size, size) and int64 labels (images,), on the CPU."""

    images: Tensor
    labels: Tensor

    def resident(self, device: torch.device) -> ResidentSplit:
        """Put all images on a device."""
        rows = torch.arange(len(self.labels), device=device)
        return ResidentSplit(self.images.to(device), rows, self.labels.to(device))


def labelled_images(count: int, classes: int, stream: str, *, size: int = 32, signal: float = 0.25) -> LabelledImages:
    """Generate noise with a coarse pattern per class, so that a network can learn.

    Args:
        stream: name of the random stream of the noise; the patterns do not depend on it.
        signal: the pattern's share of a pixel.
    """
    patterns = torch.randint(0, 256, (classes, 3, 4, 4), generator=generator("patterns", classes)).float()
    patterns = F.interpolate(patterns, size=(size, size), mode="bilinear").to(torch.uint8)
    draws = generator("noise", stream)
    labels = torch.randint(0, classes, (count,), generator=draws)
    images = torch.randint(0, 256, (count, 3, size, size), generator=draws, dtype=torch.uint8)
    for some in torch.arange(count).split(1000):
        images[some] = (signal * patterns[labels[some]] + (1 - signal) * images[some]).to(torch.uint8)
    return LabelledImages(images, labels)


def splits_of(train: LabelledImages, test: LabelledImages, device: torch.device) -> Splits:
    """Make a data set on a device from training and test images, without a validation split."""
    mean, std = torch.full((1, 3, 1, 1), 255 * PIXEL_MEAN), torch.full((1, 3, 1, 1), 255 * PIXEL_STD)
    nothing = LabelledImages(train.images[:0], train.labels[:0])
    return Splits(
        train.resident(device),
        nothing.resident(device),
        test.resident(device),
        mean.to(device),
        (1 / std).to(device),
    )


def write_jpegs(root: Path, count: int, classes: int = 4) -> FilePictures:
    """Write ``root/<class>/<number>.jpg`` with ImageNet's usual sizes in pixels and bytes."""
    different = [_jpeg(number) for number in range(min(count, DIFFERENT_JPEGS))]
    names = [f"{number % classes}/{number:06d}.jpg" for number in range(count)]
    for label in range(classes):
        (root / str(label)).mkdir(parents=True)
    for number, name in enumerate(names):
        (root / name).write_bytes(different[number % len(different)])
    return FilePictures(root, np.array(names, dtype=np.bytes_), np.arange(count, dtype=np.int64) % classes)


def _jpeg(number: int) -> bytes:
    width, height = JPEG_SIZES[number % len(JPEG_SIZES)]
    stream = np.random.default_rng(number)
    coarse = Image.fromarray(stream.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    noisy = (smooth + stream.normal(0, JPEG_NOISE, (height, width, 1))).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, format="jpeg", quality=JPEG_QUALITY)
    return buffer.getvalue()
