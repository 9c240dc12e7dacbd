"""Split a data set into training, validation and test images on a device, resident or streamed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from workers.data.batches import ResidentSplit, Split
from workers.data.preparing.cache import MappedData, StreamedData
from workers.devices.seeds import generator
from workers.stages import Data, Precision

BYTES_IN_CACHE = 2**21  # of normalised images, so that a CPU's operations on them do not wait for memory


@dataclass(frozen=True)
class Splits:
    """The training, validation and test split, and how a network sees their images.

    Attributes:
        validation: empty if no images are held out.
        mean, inverse_std: pixel statistics by channel, shaped to broadcast over a batch.
        memory_format: memory format of the images that the network sees.
        precision: precision of the network's convolutions and matrix products.
    """

    train: Split
    validation: Split
    test: Split
    mean: Tensor
    inverse_std: Tensor
    memory_format: torch.memory_format = torch.channels_last
    precision: Precision = "float32"

    @property
    def device(self) -> torch.device:
        """The device of the batches."""
        return self.mean.device

    def blank(self, images: int) -> Tensor:
        """A batch of zeros, shaped as the network sees images."""
        blank = torch.zeros(images, self.mean.shape[1], *self.train.size, device=self.device)
        return blank.to(memory_format=self.memory_format)

    def normalized(self, images: Tensor) -> Tensor:
        """Convert uint8 images to what the network sees: float32, centred and scaled by channel, in memory format."""
        mean, inverse_std = self.mean, self.inverse_std
        if not images.is_contiguous():  # but channels last, where torch takes rows faster than three numbers at a time
            mean, inverse_std = (_rows(by_channel, images.shape[3]) for by_channel in (mean, inverse_std))
        scaled = torch.empty_like(images, dtype=mean.dtype)  # float32
        at_once = max(1, BYTES_IN_CACHE * len(images) // max(1, scaled.nbytes)) if scaled.is_cpu else len(images)
        for part, piece in zip(scaled.split(at_once), images.split(at_once), strict=True):
            part.copy_(piece).sub_(mean).mul_(inverse_std)
        return scaled.to(memory_format=self.memory_format)

    def autocast(self) -> torch.autocast:
        """A context that runs forward passes in the precision; bfloat16 needs no loss scaling."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")


def _rows(by_channel: Tensor, width: int) -> Tensor:
    """Numbers by channel, (1, channels, 1, 1), repeated for a row of pixels whose channels are last in memory."""
    return by_channel.expand(-1, -1, 1, width).contiguous(memory_format=torch.channels_last)


def split_data(
    data: MappedData | StreamedData,
    spec: Data,
    device: torch.device,
    loader_workers: int | None = None,
    precision: Precision = "float32",
) -> Splits:
    """Put a data set on a device and hold out validation images; the held-out rows depend on the number of images only.

    Args:
        loader_workers: number of processes that decode streamed images with PIL; None decodes on a GPU device, or in
            one process for a CPU.
    """
    train: Split
    validation: Split
    test: Split
    if isinstance(data, MappedData):
        rows, held = _held_out(len(data.train_labels), spec.validation_fraction)
        images = data.train_images.to(device)
        train = ResidentSplit(images, rows.to(device), data.train_labels[rows].to(device))
        validation = ResidentSplit(images, held.to(device), data.train_labels[held].to(device))
        test_rows = torch.arange(len(data.test_labels), device=device)
        test = ResidentSplit(data.test_images.to(device), test_rows, data.test_labels.to(device))
    else:
        # imported here, since it imports torchvision, which takes seconds
        from workers.data.images.streaming import Reader, StreamedSplit, open_reader

        rows, held = _held_out(len(data.train), spec.validation_fraction)

        def stream(reader: Reader, rows: Tensor) -> StreamedSplit:
            return StreamedSplit(reader, rows, reader.labels[rows].to(device), (spec.image_size, spec.image_size))

        training, testing = (open_reader(part, device, loader_workers) for part in (data.train, data.test))
        train, validation = stream(training, rows), stream(training, held)
        test = stream(testing, torch.arange(len(data.test)))
    mean = data.mean if spec.pixel_mean is None else 255 * torch.tensor(spec.pixel_mean)
    std = data.std if spec.pixel_std is None else 255 * torch.tensor(spec.pixel_std)
    by_channel = (1, -1, 1, 1)
    mean, inverse_std = (values.view(by_channel).to(device) for values in (mean, 1 / std))
    return Splits(train, validation, test, mean, inverse_std, precision=precision)


def _held_out(total: int, fraction: float) -> tuple[Tensor, Tensor]:
    """Rows to train on and rows held out, each in order."""
    order = torch.randperm(total, generator=generator("validation split", total))
    held = round(fraction * total)
    return order[held:].sort().values, order[:held].sort().values
