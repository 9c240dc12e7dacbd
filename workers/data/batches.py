"""Batches of uint8 images on a device, and the split whose images all lie there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from torch import Tensor

from workers.data.augmentation import Draws, augmented, placed
from workers.stages import Augmentation


class Batch(NamedTuple):
    """uint8 images (batch, channels, height, width) and int64 labels (batch,), both on the device."""

    images: Tensor
    labels: Tensor


class Split(Protocol):
    """Some of a data set's images.

    Attributes:
        labels: int64 (images,), on the device.
        height, width: of the images as the network sees them, in pixels.
    """

    @property
    def labels(self) -> Tensor: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    def __len__(self) -> int: ...

    def part(self, chosen: slice) -> Split:
        """Some of its images as a split."""

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """All images once, as a test sees them."""

    def drawn(self, draws: Draws, batch_size: int, augmentation: Augmentation, first: int = 0) -> Iterator[Batch]:
        """The drawn images, augmented, from batch number ``first`` on; the last batch holds what is left."""


@dataclass(frozen=True)
class ResidentSplit:
    """Images that lie on the device; the array itself is shared with the other splits and never copied.

    Attributes:
        source: uint8 (all images, channels, height, width).
        rows, labels: int64 (images,): where each image lies in the source, and its class.
    """

    source: Tensor
    rows: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def height(self) -> int:
        return self.source.shape[2]

    @property
    def width(self) -> int:
        return self.source.shape[3]

    def part(self, chosen: slice) -> ResidentSplit:
        return replace(self, rows=self.rows[chosen], labels=self.labels[chosen])

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        for start in range(0, len(self), batch_size):
            chosen = slice(start, start + batch_size)
            yield Batch(self.source[self.rows[chosen]], self.labels[chosen])

    def drawn(self, draws: Draws, batch_size: int, augmentation: Augmentation, first: int = 0) -> Iterator[Batch]:
        # to the device once: nothing in an epoch waits for the host
        here = placed(draws, augmentation, self.height, self.width).to(self.source.device)
        for batch in here.batches(batch_size, first):
            images = self.source[self.rows[batch.order]]
            yield Batch(augmented(images, batch, augmentation), self.labels[batch.order])
