"""Streamed images: every reader gives torchvision's crops in order, and names a damaged picture."""

import io
import multiprocessing
import multiprocessing.util
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms
from torchvision.transforms.v2 import functional as TF

from tests.support.image_sets import encoded, picture, write_imagenet
from tests.workers.training.test_trainer import interrupted_after
from workers.data.augmentation import draw_epoch, resized_crop_boxes
from workers.data.errors import DataError
from workers.data.images import jpeg
from workers.data.images.encoded import FilePictures, Pictures, decode_rgb
from workers.data.images.headers import MOST_PIXELS
from workers.data.images.streaming import (
    DeviceReader,
    ProcessReader,
    Reader,
    StreamedSplit,
    jpeg_decoder,
)
from workers.data.splits import Splits
from workers.stages import Optimizer, Training
from workers.stages.execution import Control, Interrupted
from workers.training.trainer import train

CPU = torch.device("cpu")


def pictures(folder: Path) -> FilePictures:
    paths = sorted((folder / "train").rglob("*.JPEG"))
    classes = sorted({path.parent.name for path in paths})
    return FilePictures(
        folder,
        np.array([str(path.relative_to(folder)).encode() for path in paths]),
        np.array([classes.index(path.parent.name) for path in paths]),
    )


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> FilePictures:
    return pictures(write_imagenet(tmp_path_factory.mktemp("sets"), train=12, val=1))


READERS: dict[str, Callable[[Pictures], Reader]] = {
    "in this process": lambda held: ProcessReader(held, CPU, 0),
    "two processes": lambda held: ProcessReader(held, CPU, 2),
    "device": lambda held: DeviceReader(held, CPU, jpeg_decoder(CPU)),
}


def split_of(reader: Reader, rows: Tensor, size: int = 64) -> StreamedSplit:
    return StreamedSplit(reader, rows, reader.labels[rows], (size, size))


@pytest.mark.parametrize("kind", READERS)
def test_test_images_equal_torchvisions_resize_and_centre_crop(imagenet: FilePictures, kind: str) -> None:
    rows = torch.arange(0, len(imagenet), 5)
    batches = list(split_of(READERS[kind](imagenet), rows, 224).in_order(8))
    images, labels = torch.cat([b.images for b in batches]), torch.cat([b.labels for b in batches])
    transform = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])
    assert [len(b.labels) for b in batches] == [8, 8, len(rows) - 16]
    assert labels.tolist() == imagenet.labels[rows].tolist()
    for image, row in zip(images, rows, strict=True):
        expected = TF.pil_to_tensor(transform(decode_rgb(imagenet, int(row))))
        close_to(image, expected, exact=kind != "device")


@pytest.mark.parametrize("kind", READERS)
def test_training_images_equal_torchvisions_random_resized_crop_and_flip(imagenet: FilePictures, kind: str) -> None:
    split = split_of(READERS[kind](imagenet), torch.arange(len(imagenet)).flip(0))
    for epoch in range(2):  # the same reader serves every epoch
        draws = draw_epoch(len(split), 3, epoch, "resized_crop_flip")
        batches = list(split.drawn(draws, 16, "resized_crop_flip", first=2))
        images, labels = torch.cat([b.images for b in batches]), torch.cat([b.labels for b in batches])
        assert labels.tolist() == split.labels[draws.order[32:]].tolist()
        for image, position in zip(images, range(32, len(split)), strict=True):
            whole = decode_rgb(imagenet, int(split.rows[draws.order[position]]))
            sizes = torch.tensor([whole.height]), torch.tensor([whole.width])
            (box,) = resized_crop_boxes(draws.geometry[position][None], *sizes, 0.08).tolist()
            expected = TF.pil_to_tensor(TF.resized_crop(whole, *box, [64, 64]))
            close_to(image, TF.horizontal_flip(expected) if draws.flip[position] else expected, exact=kind != "device")


def close_to(image: Tensor, expected: Tensor, *, exact: bool) -> None:
    """Equal if PIL decoded; another JPEG decoder and resizing in float differ by a few levels."""
    difference = (image.int() - expected.int()).abs()
    assert difference.max() <= (0 if exact else 8)
    assert difference.float().mean() <= (0 if exact else 1)


@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_picture_is_named(tmp_path: Path, kind: str) -> None:
    held = pictures(write_imagenet(tmp_path, train=6, val=1, damaged=True))
    damaged = held.name(len(held) - 1)
    split = split_of(READERS[kind](held), torch.arange(len(held)))
    assert len(next(split.in_order(4)).labels) == 4
    with pytest.raises(DataError, match=f"^{damaged}: not a readable image"):
        list(split.in_order(16))


@pytest.mark.parametrize("kind", READERS)
def test_an_epoch_may_be_left_in_the_middle(imagenet: FilePictures, kind: str) -> None:
    split = split_of(READERS[kind](imagenet), torch.arange(len(imagenet)))
    first = next(split.in_order(8)).images
    again = [batch.images for batch in split.in_order(8)]
    assert torch.equal(again[0], first)
    assert len(again) == -(-len(imagenet) // 8)


@pytest.mark.timeout(60)  # where a tensor crosses, the parent waits for ever
def test_a_process_delivers_with_a_tmpdir_too_long_for_sockets(
    imagenet: FilePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("folder-of-a-job-" * 6)
    long.mkdir()
    monkeypatch.setattr(multiprocessing.util, "get_temp_dir", lambda: str(long))
    split = split_of(ProcessReader(imagenet, CPU, 1), torch.arange(8))
    assert [len(batch.labels) for batch in split.in_order(4)] == [4, 4]


def test_a_killed_process_is_an_error_within_seconds(imagenet: FilePictures) -> None:
    split = split_of(ProcessReader(imagenet, CPU, 1), torch.arange(40))
    batches = split.in_order(1)
    next(batches)
    for child in multiprocessing.active_children():
        child.kill()
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid"):
        list(batches)


def test_only_whole_jpegs_of_one_or_three_components_go_to_a_batched_decoder() -> None:
    def plain(content: bytes, most_pixels: int = MOST_PIXELS) -> bool:
        return jpeg.is_plain(content, most_pixels)

    image = picture(np.random.default_rng(0), 60, 40)
    assert plain(encoded(image))
    assert plain(encoded(image, progressive=True))
    assert plain(encoded(image.convert("L")))
    for other in (
        encoded(image.convert("CMYK")),
        encoded(image, "png"),
        encoded(image)[:-200],
        encoded(image) + b"trailing",
        b"",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + b"\xff" * 40 + b"\xff\xd9",
    ):
        assert not plain(other)
    assert plain(encoded(image), 60 * 40)
    assert not plain(encoded(image), 60 * 40 - 1)  # as Pillow says in a sentence


def test_an_image_that_the_batched_decoder_refuses_is_decoded_alone(imagenet: FilePictures) -> None:
    decode, calls = jpeg_decoder(CPU), []

    def moody(images: list[Tensor]) -> list[Tensor]:
        calls.append(len(images))
        if len(images) > 1 or len(calls) % 3 == 0:
            raise RuntimeError("nvjpeg: not supported")
        return decode(images)

    reader = DeviceReader(imagenet, CPU, moody)
    rows = torch.arange(len(imagenet))
    plain = torch.cat([b.images for b in split_of(READERS["device"](imagenet), rows).in_order(16)])
    got = torch.cat([b.images for b in split_of(reader, rows).in_order(16)])
    assert max(calls) > 1
    assert min(calls) == 1
    assert (got.int() - plain.int()).abs().max() <= 8


@pytest.mark.timeout(60)
def test_two_threads_decode_at_the_same_time_and_batches_keep_their_order(imagenet: FilePictures) -> None:
    decode, calls, both = jpeg_decoder(CPU), count(), Barrier(2, timeout=30)

    def late(images: list[Tensor]) -> list[Tensor]:
        call = next(calls)
        if call < 4:
            both.wait()  # breaks if no second thread comes
        if call % 2:
            time.sleep(0.05)  # the other thread's batch is the first one to be ready
        return decode(images)

    rows = torch.arange(40).flip(0)
    expected = torch.cat([batch.images for batch in split_of(READERS["device"](imagenet), rows).in_order(40)])
    got = torch.cat([batch.images for batch in split_of(DeviceReader(imagenet, CPU, late), rows).in_order(7)])
    assert torch.equal(got, expected)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 40),
    st.sampled_from(["RGB", "L", "4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1"]),
    st.sampled_from([{}, {"restart_marker_blocks": 1}, {"optimize": True}, {"progressive": True}]),
    st.data(),
)
def test_a_jpeg_cut_below_a_row_has_the_same_pixels_above_it(
    height: int, width: int, kind: str, options: dict[str, Any], data: st.DataObject
) -> None:
    row = data.draw(st.integers(1, height))
    shape = (height, width) if kind == "L" else (height, width, 3)
    noise = Image.fromarray(np.random.default_rng(row).integers(0, 256, shape, dtype=np.uint8))
    content = jpeg_of(noise, kind, options)
    cut = jpeg.cut_below(content, row)
    whole, part = (np.asarray(Image.open(io.BytesIO(each)).convert("RGB")) for each in (content, cut))
    assert np.array_equal(part[:row], whole[:row])
    assert len(part) == (height if "progressive" in options else min(height, row + jpeg.ROWS_BELOW))


def jpeg_of(image: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    """Encode an image; Pillow writes no 4:4:0 and 4:1:1, so the header says so of as many blocks of colours."""
    written = {"RGB": -1, "L": -1, "4:4:0": "4:2:2", "4:1:1": "4:2:0"}.get(kind, kind)
    content = encoded(image, subsampling=written, **options)
    factors = {"4:4:0": (b"\x01\x21", b"\x01\x12"), "4:1:1": (b"\x01\x22", b"\x01\x41")}
    return content.replace(*factors[kind], 1) if kind in factors else content


@pytest.mark.parametrize("kind", ["in this process", "device"])
def test_a_picture_that_ends_early_or_is_gone_is_named_whichever_rows_are_needed(tmp_path: Path, kind: str) -> None:
    held = pictures(write_imagenet(tmp_path, train=1, val=1, damaged=True))
    split = split_of(READERS[kind](held), torch.full((8,), len(held) - 1))
    with pytest.raises(DataError, match=f"^{held.name(len(held) - 1)}: not a readable image"):
        next(split.drawn(draw_epoch(8, 0, 0, "resized_crop_flip"), 1, "resized_crop_flip"))
    held.path(0).unlink()
    with pytest.raises(DataError, match=f"^{held.name(0)}: cannot be read"):
        next(split_of(READERS[kind](held), torch.zeros(1, dtype=torch.int64)).in_order(1))


def test_an_augmentation_for_images_of_one_size_is_refused(imagenet: FilePictures) -> None:
    split = split_of(READERS["in this process"](imagenet), torch.arange(4))
    with pytest.raises(DataError, match="resized_crop_flip"):
        next(split.drawn(draw_epoch(4, 1, 0, "crop_flip"), 2, "crop_flip"))


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_draws_nothing_from_torchs_generator(imagenet: FilePictures, workers: int) -> None:
    # dropout and initialisations do, and would not be the same with another number of passes over the images
    split = split_of(ProcessReader(imagenet, CPU, workers), torch.arange(8))
    before = torch.random.get_rng_state()
    list(split.in_order(4))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("kind", READERS)
def test_a_training_on_streamed_images_resumes_to_the_same_bits(
    imagenet: FilePictures, tmp_path: Path, kind: str
) -> None:
    split = split_of(READERS[kind](imagenet), torch.arange(40), 16)
    channels = (1, 3, 1, 1)
    splits = Splits(split, split, split, torch.full(channels, 120.0), torch.full(channels, 1 / 60))

    def run(control: Control) -> dict[str, Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(4 * 14 * 14, len(classes)))
        training = Training(3, 16, Optimizer(0.01), augmentation="resized_crop_flip")
        watched = {"test": split}
        train(model, training, splits, masks={}, sgd_seed=1, watched=watched, control=control)
        return model.state_dict()

    classes = set(imagenet.labels.tolist())
    undisturbed = run(Control())
    with pytest.raises(Interrupted):
        run(Control(checkpoints=tmp_path, should_stop=interrupted_after(4)))
    resumed = run(Control(earlier=(tmp_path,)))
    assert all(torch.equal(tensor, undisturbed[name]) for name, tensor in resumed.items())
