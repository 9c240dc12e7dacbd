"""The baseline: training and probing in the style of the authors' released code (``docs/method.md``).

Written from that description only: a DataLoader over PIL images, float32 and NCHW, the mask multiplied onto the weight
in every forward pass, one alpha per batch as a Python float, a plain optimizer, loss and accuracy read by the host in
every step. Where the description leaves a choice, the baseline takes the faster one: loader processes persist between
epochs, their memory is pinned, and images need no decoding.

Random draws are arguments, so that a test can compare the results with those of ``workers``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.generated import PIXEL_MEAN, PIXEL_STD, LabelledImages
from workers.probing.path import mix
from workers.stages import Augmentation, Optimizer
from workers.training.evaluation import Outcomes

BN_MOMENTUM = 0.1

Transform = Callable[[Image.Image], Tensor]
Loader = Iterable[tuple[Tensor, Tensor]]
"""Batches of normalised float32 images and int64 labels, on the CPU."""


class MaskedConv2d(nn.Conv2d):
    """The mask is applied in every forward pass."""

    mask: Tensor

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight * self.mask, self.bias)


class MaskedLinear(nn.Linear):
    """The mask is applied in every forward pass."""

    mask: Tensor

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight * self.mask, self.bias)


class InterpolatedBatchNorm2d(nn.BatchNorm2d):
    """Interpolate scale and shift towards 1 and 0 in every forward pass of a training."""

    alpha = 0.0

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        scale = self.alpha + (1 - self.alpha) * self.weight
        shift = (1 - self.alpha) * self.bias
        return F.batch_norm(input, self.running_mean, self.running_var, scale, shift, True, self.momentum, self.eps)


MASKED: Mapping[type[nn.Module], type[nn.Module]] = {nn.Conv2d: MaskedConv2d, nn.Linear: MaskedLinear}


def mask_in_forward_(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Add float32 masks to the layers of these weights."""
    for name, mask in masks.items():
        layer = model.get_submodule(name.rpartition(".")[0])
        layer.__class__ = MASKED[type(layer)]
        layer.register_buffer("mask", mask.to(layer.get_parameter("weight")), persistent=False)


def interpolate_in_forward_(model: nn.Module) -> list[InterpolatedBatchNorm2d]:
    """Replace all batch norms by interpolating ones; return them, for ``alpha`` is set before each batch."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = InterpolatedBatchNorm2d
    return [module for module in model.modules() if isinstance(module, InterpolatedBatchNorm2d)]


class ReleasedStep:
    """Train for one step; the model changes in place.

    Args:
        interpolate_psi: train as AWS does.
    """

    def __init__(
        self, model: nn.Module, masks: Mapping[str, Tensor], optimizer: Optimizer, *, interpolate_psi: bool
    ) -> None:
        mask_in_forward_(model, masks)
        self._model = model.train()
        self._norms = interpolate_in_forward_(model) if interpolate_psi else []
        self._optimizer = torch.optim.SGD(
            model.parameters(),
            lr=optimizer.learning_rate,
            momentum=optimizer.momentum,
            weight_decay=optimizer.weight_decay,
        )

    def __call__(self, images: Tensor, labels: Tensor, alpha: float) -> tuple[float, float]:
        """Take a step on normalised images; return the batch's mean loss in nats and its accuracy."""
        for norm in self._norms:
            norm.alpha = alpha
        logits = self._model(images)
        loss = F.cross_entropy(logits, labels)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.item(), (logits.argmax(1) == labels).float().mean().item()


def transform_of(augmentation: Augmentation, size: int) -> Transform:
    """Return the PIL transforms of the released code's CIFAR or Tiny-ImageNet training, or only normalisation."""
    random: Mapping[Augmentation, list[Transform]] = {
        "none": [],
        "crop_flip": [transforms.RandomCrop(size, padding=4), transforms.RandomHorizontalFlip()],
        "crop_flip_2": [transforms.RandomCrop(size, padding=2), transforms.RandomHorizontalFlip()],
        "half_resized_crop_flip": [
            transforms.RandomResizedCrop(size, scale=(0.5, 1)),
            transforms.RandomHorizontalFlip(),
        ],
    }
    normalize = transforms.Normalize((PIXEL_MEAN,) * 3, (PIXEL_STD,) * 3)
    return transforms.Compose([*random[augmentation], transforms.ToTensor(), normalize])


class PilImages(Dataset[tuple[Tensor, int]]):
    """Arrays served as PIL images, then tensors, one by one, as in torchvision's CIFAR10."""

    def __init__(self, data: LabelledImages, transform: Transform) -> None:
        self._pixels = data.images.permute(0, 2, 3, 1).contiguous().numpy()
        self._labels = data.labels.tolist()
        self._transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._pixels[index])), self._labels[index]


def make_loader(
    data: LabelledImages, augmentation: Augmentation, batch_size: int, workers: int, *, shuffle: bool, pinned: bool
) -> Loader:
    """Create a DataLoader."""
    return DataLoader(
        PilImages(data, transform_of(augmentation, data.images.shape[-1])),
        batch_size,
        shuffle=shuffle,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pinned,
    )


def on_device(loader: Loader, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Move each batch to a device."""
    for images, labels in loader:
        yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


@torch.no_grad()
def released_curve(
    model: nn.Module,
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    points: int,
    train: Loader,
    test: Loader,
    device: torch.device,
) -> list[Outcomes]:
    """Evaluate the path from lambda 0 (b) to 1 (a); each point re-estimates batch norm on the training set.

    Unlike the released code, this interpolates every tensor and keeps each image's outcome for the standard error.
    """
    outcomes = []
    for index in range(points):
        weight = index / (points - 1)
        model.load_state_dict(mix((a, b), (weight, 1 - weight)))
        _pass_for_statistics(model, on_device(train, device))
        outcomes.append(_test(model, on_device(test, device)))
    return outcomes


def _pass_for_statistics(model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]]) -> None:
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = BN_MOMENTUM
    for images, _ in batches:
        model(images)


def _test(model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]]) -> Outcomes:
    model.eval()
    losses, errors = [], []
    for images, labels in batches:
        logits = model(images)
        losses.append(F.cross_entropy(logits, labels, reduction="none").double().cpu())
        errors.append((logits.argmax(1) != labels).double().cpu())
    return Outcomes(torch.cat(losses), torch.cat(errors))
