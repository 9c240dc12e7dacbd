"""Batches of uint8 images on a device, and the split whose images all lie on that device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from torch import Tensor

from workers.data.augmentation import Draws, augmented, batches_at_once, placed
from workers.stages import Augmentation


class Batch(NamedTuple):
    """uint8 images (batch, channels, height, width) and int64 labels (batch,), both on the device."""

    images: Tensor
    labels: Tensor


class Split(Protocol):
    """A split: some of a data set's images.

    Attributes:
        labels: int64 (images,), on the device.
        size: (height, width) of the images as the network sees them, in pixels.
    """

    @property
    def labels(self) -> Tensor: ...
    @property
    def size(self) -> tuple[int, int]: ...
    def __len__(self) -> int: ...

    def part(self, part: slice) -> Split:
        """A slice of the split."""

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """All images once, in order and without augmentation."""

    def drawn(self, draws: Draws, batch_size: int, augmentation: Augmentation, first: int = 0) -> Iterator[Batch]:
        """The drawn images, augmented, from batch number ``first`` on; the last batch may be smaller."""


@dataclass(frozen=True)
class ResidentSplit:
    """A split whose images lie on the device, in an array that it shares with other splits.

    Attributes:
        source: uint8 (all images, channels, height, width).
        rows, labels: row of each image in the source, and its class; int64 (images,).
    """

    source: Tensor
    rows: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> tuple[int, int]:
        return self.source.shape[2], self.source.shape[3]

    def part(self, part: slice) -> ResidentSplit:
        return replace(self, rows=self.rows[part], labels=self.labels[part])

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        for start in range(0, len(self), batch_size):
            batch = slice(start, start + batch_size)
            yield Batch(self.source[self.rows[batch]], self.labels[batch])

    def drawn(self, draws: Draws, batch_size: int, augmentation: Augmentation, first: int = 0) -> Iterator[Batch]:
        # moved to the device once, so that no batch waits for the host
        on_device = placed(draws, augmentation, *self.size).to(self.source.device)
        together = batches_at_once(self.source.device, batch_size * self.source[0].numel(), augmentation)
        for some in on_device[first * batch_size :].batches(together * batch_size):
            images = augmented(self.source[self.rows[some.order]], some, augmentation)
            yield from map(Batch, images.split(batch_size), self.labels[some.order].split(batch_size))
