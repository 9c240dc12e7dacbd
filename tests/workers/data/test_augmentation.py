"""Each augmentation against torchvision's transform, given the same draws."""

from collections import deque
from collections.abc import Callable, Sequence
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as TF

from workers.data import batches
from workers.data.augmentation import (
    AUGMENTATIONS,
    Draws,
    augmented,
    batches_at_once,
    draw_epoch,
    placed,
    resized_crop_boxes,
)
from workers.data.batches import ResidentSplit
from workers.stages import Augmentation


def pictures(count: int, size: int) -> Tensor:
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_crop_and_flip_equal_torchvisions() -> None:
    images, draws = pictures(20, 32), draw_epoch(20, 3, 0, "crop_flip")
    got = augmented(images[draws.order], draws, "crop_flip")
    for row in range(20):
        top, left = draws.geometry[row].tolist()
        expected = TF.crop(TF.pad(images[draws.order[row]], [4]), top, left, 32, 32)
        assert torch.equal(got[row], TF.horizontal_flip(expected) if draws.flip[row] else expected)
    assert draws.geometry.min() == 0
    assert draws.geometry.max() == 8


def test_resized_crop_and_flip_equal_torchvisions() -> None:
    images = pictures(64, 64)
    draws = placed(draw_epoch(64, 5, 0, "half_resized_crop_flip"), "half_resized_crop_flip", 64, 64)
    chosen = images[draws.order]
    got = augmented(chosen, draws, "half_resized_crop_flip")
    assert got.dtype == torch.uint8
    for row in range(64):
        expected = TF.resized_crop(chosen[row].float(), *draws.geometry[row].tolist(), [64, 64])
        expected = TF.horizontal_flip(expected) if draws.flip[row] else expected
        # to whole levels; where the exact value lies half way between two, rounding may go either way
        assert (got[row].float() - expected).abs().max() < 0.501
        assert (got[row] == expected.round()).float().mean() > 0.999


def test_no_augmentation_changes_nothing() -> None:
    images = pictures(4, 8)
    assert torch.equal(augmented(images, draw_epoch(4, 1, 0, "none"), "none"), images)


@settings(max_examples=25)
@given(
    augmentation=st.sampled_from(sorted(AUGMENTATIONS)),
    images=st.integers(1, 40),
    batch_size=st.integers(1, 9),
    first=st.integers(0, 3),
    together=st.integers(1, 6),
)
def test_batches_augmented_together_equal_those_augmented_alone(
    augmentation: Augmentation, images: int, batch_size: int, first: int, together: int
) -> None:
    source, rows, labels = pictures(50, 8), torch.arange(50).flip(0)[:images], torch.arange(images)
    split, draws = ResidentSplit(source, rows, labels), draw_epoch(images, 3, 0, augmentation)
    with mock.patch.object(batches, "batches_at_once", return_value=together):
        drawn = list(split.drawn(draws, batch_size, augmentation, first))
    alone = list(placed(draws, augmentation, 8, 8).batches(batch_size, first))
    assert len(drawn) == len(alone)
    for batch, of_batch in zip(drawn, alone, strict=True):
        assert torch.equal(batch.images, augmented(source[rows[of_batch.order]], of_batch, augmentation))
        assert torch.equal(batch.labels, labels[of_batch.order])


def test_large_images_are_augmented_in_fewer_batches() -> None:
    gpu, values = torch.device("cuda"), {size: 128 * 3 * size**2 for size in (32, 64, 224)}
    assert batches_at_once(gpu, values[32], "crop_flip") == 64
    assert 4 < batches_at_once(gpu, values[64], "half_resized_crop_flip") < 16
    assert batches_at_once(gpu, values[224], "resized_crop_flip") == 1
    assert batches_at_once(torch.device("cpu"), values[32], "crop_flip") == 1


def play(numbers: Sequence[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make torch draw these numbers in [0, 1)."""
    left = deque(numbers)

    def uniform_(tensor: Tensor, low: float = 0, high: float = 1) -> Tensor:
        return tensor.copy_(torch.tensor(left.popleft(), dtype=torch.float32) * (high - low) + low)

    def randint(low: int, high: int, size: tuple[int, ...]) -> Tensor:
        return torch.full(size, low + int(left.popleft() * (high - low)))

    monkeypatch.setattr(Tensor, "uniform_", uniform_)
    monkeypatch.setattr(torch, "randint", randint)


@pytest.mark.parametrize("smallest", [0.08, 0.5])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (375, 500), (500, 333), (60, 400), (700, 90)])
def test_boxes_are_those_of_torchvisions_random_resized_crop(
    height: int, width: int, smallest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    uniforms = torch.rand(200, 22, generator=torch.Generator().manual_seed(height))
    boxes = boxes_of(uniforms, height, width, smallest)
    image = torch.zeros(3, height, width)
    fallbacks = 0
    for row, box in zip(uniforms, boxes, strict=True):
        scale, ratio, place = row[:10].tolist(), row[10:20].tolist(), row[20:].tolist()
        tried = _attempts(row, height, width, smallest)
        fallbacks += tried is None
        interleaved = [number for pair in zip(scale, ratio, strict=True) for number in pair]
        with monkeypatch.context() as patch:
            # torchvision draws a place only after the attempt that fits
            play([*interleaved[: 2 * (tried or 10)], *place], patch)
            expected = RandomResizedCrop.get_params(image, [smallest, 1.0], [3 / 4, 4 / 3])
        assert tuple(box.tolist()) == tuple(expected)
    assert fallbacks or max(height, width) < 6 * min(height, width)  # the centre, where no attempt fits


def boxes_of(uniforms: Tensor, height: int, width: int, smallest: float) -> Tensor:
    sizes = torch.tensor([height, width]).expand(len(uniforms), 2)
    return resized_crop_boxes(uniforms, sizes[:, 0], sizes[:, 1], smallest)


def _attempts(row: Tensor, height: int, width: int, smallest: float) -> int | None:
    """Number of torchvision's attempts until a box fits."""
    for attempt in range(10):
        area = height * width * (smallest + float(row[attempt]) * (1 - smallest))
        ratio = (3 / 4) * (16 / 9) ** float(row[10 + attempt])
        if round((area * ratio) ** 0.5) <= width and round((area / ratio) ** 0.5) <= height:
            return attempt + 1
    return None


@given(
    height=st.integers(8, 600),
    width=st.integers(8, 600),
    smallest=st.sampled_from([0.08, 0.5]),
    seed=st.integers(0, 10**6),
)
def test_boxes_lie_in_the_image(height: int, width: int, smallest: float, seed: int) -> None:
    uniforms = torch.rand(50, 22, generator=torch.Generator().manual_seed(seed))
    top, left, h, w = boxes_of(uniforms, height, width, smallest).unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (h > 0).all()
    assert (w > 0).all()
    assert (top + h <= height).all()
    assert (left + w <= width).all()


@pytest.mark.parametrize("augmentation", ["none", "crop_flip", "half_resized_crop_flip", "resized_crop_flip"])
def test_draws_depend_on_seed_and_epoch_alone(augmentation: str) -> None:
    def same(a: Draws, b: Draws) -> bool:
        return torch.equal(a.order, b.order) and torch.equal(a.geometry, b.geometry) and torch.equal(a.flip, b.flip)

    draw: Callable[[int, int], Draws] = lambda seed, epoch: draw_epoch(300, seed, epoch, augmentation)  # type: ignore[arg-type]  # noqa: E731
    assert same(draw(1, 0), draw(1, 0))
    assert not same(draw(1, 0), draw(2, 0))
    assert not same(draw(1, 0), draw(1, 1))
    assert draw(1, 0).order.sort().values.tolist() == list(range(300))
    batches = list(draw(1, 0).batches(128, first=1))
    assert [len(batch) for batch in batches] == [128, 44]
    assert torch.equal(batches[0].order, draw(1, 0).order[128:256])
    flips = draw(1, 0).flip.float().mean()
    assert flips == 0 if augmentation == "none" else 0.4 < flips < 0.6
