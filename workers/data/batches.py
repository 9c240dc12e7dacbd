"""Training batches from device-resident images, drawn so that a resumed run and another device see the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from workers.data.cache import MappedData
from workers.seeds import generator
from workers.stages import Data

CROP_PADDING = 4
EVALUATION_BATCH = 1000


@dataclass(frozen=True)
class Split:
    """Some of a data set's images, by index: the array itself is shared with the other splits and never copied.

    Attributes:
        source: uint8 (all images, channels, height, width) on the training device.
        rows, labels: int64 (images,): where each image lies in the source, and its class.
    """

    source: Tensor
    rows: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Tensor | slice) -> Tensor:
        """The chosen images, uint8."""
        return self.source[self.rows[chosen]]

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.source.device


@dataclass(frozen=True)
class Splits:
    """The training, validation and test split; the validation split is empty when none is held out.

    Attributes:
        mean, inverse_std: of the pixels by channel, shaped to broadcast over a batch.
    """

    train: Split
    validation: Split
    test: Split
    mean: Tensor
    inverse_std: Tensor

    def normalized(self, images: Tensor) -> Tensor:
        """uint8 images as the network sees them: float32, centred and scaled by channel, channels last."""
        scaled = (images.float() - self.mean) * self.inverse_std
        return scaled.to(memory_format=torch.channels_last)


def split_data(data: MappedData, spec: Data, device: torch.device) -> Splits:
    """Put a data set on a device, with the validation images held out by a draw that depends on their number only."""
    total = len(data.train_labels)
    order = torch.randperm(total, generator=generator("validation split", total))
    held = round(spec.validation_fraction * total)
    validation, train = order[:held].sort().values, order[held:].sort().values

    images = data.train_images.to(device)
    return Splits(
        train=Split(images, train.to(device), data.train_labels[train].to(device)),
        validation=Split(images, validation.to(device), data.train_labels[validation].to(device)),
        test=Split(
            data.test_images.to(device),
            torch.arange(len(data.test_labels), device=device),
            data.test_labels.to(device),
        ),
        mean=data.mean.view(1, -1, 1, 1).to(device),
        inverse_std=(1 / data.std).view(1, -1, 1, 1).to(device),
    )


@dataclass(frozen=True)
class Draws:
    """The random choices of one epoch: the order of the images and each one's crop offset and flip."""

    order: Tensor
    top: Tensor
    left: Tensor
    flip: Tensor

    def __getitem__(self, chosen: slice) -> Draws:
        return Draws(self.order[chosen], self.top[chosen], self.left[chosen], self.flip[chosen])

    def batches(self, batch_size: int) -> Iterator[Draws]:
        """Consecutive batches; the last one holds what is left."""
        for start in range(0, len(self.order), batch_size):
            yield self[start : start + batch_size]


def draw_epoch(images: int, sgd_seed: int, epoch: int, device: torch.device) -> Draws:
    """The choices of one epoch; a function of the seed and the epoch alone, drawn on the CPU for every device."""
    stream = generator(sgd_seed, "epoch", epoch)
    order = torch.randperm(images, generator=stream)
    top, left = torch.randint(0, 2 * CROP_PADDING + 1, (2, images), generator=stream)
    flip = torch.rand(images, generator=stream) < 0.5
    return Draws(order.to(device), top.to(device), left.to(device), flip.to(device))


def augmented(images: Tensor | Split, draws: Draws, augmentation: str) -> Tensor:
    """The drawn images, uint8.

    ``crop_flip`` is torchvision's RandomCrop(size, padding=4) and RandomHorizontalFlip: zeros are padded before
    anything is normalised.
    """
    chosen = images[draws.order]
    if augmentation == "none":
        return chosen
    height, width = chosen.shape[2:]
    padded = F.pad(chosen, (CROP_PADDING,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    rows = torch.arange(len(chosen), device=chosen.device)
    cropped = windows[rows, :, draws.top, draws.left]
    return torch.where(draws.flip.view(-1, 1, 1, 1), cropped.flip(3), cropped)
