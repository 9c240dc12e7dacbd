"""Readers of encoded images: layouts, faults, and preparations that are killed or race."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from tests.support.image_sets import (
    REAL_TINY_IMAGENET,
    WNIDS,
    encoded,
    odd,
    picture,
    write_image_folder,
    write_imagenet,
    write_shards,
    write_tiny_imagenet,
)
from workers.data import (
    DataError,
    MappedData,
    SplitSummary,
    StreamedData,
    data_set_names,
    find_data_set,
    find_source,
    fingerprint,
    open_data,
)
from workers.data.images.encoded import FilePictures, PackedPictures, decode_rgb
from workers.data.images.parquet import ParquetPictures
from workers.data.preparing import writing
from workers.data.sets.class_folders import IMAGE_EXTENSIONS


def opened(name: str, root: Path, cache: Path) -> MappedData | StreamedData:
    return open_data(name, fingerprint(name, root, cache), root, cache)


def mapped(name: str, root: Path, cache: Path) -> MappedData:
    data = opened(name, root, cache)
    assert isinstance(data, MappedData)
    return data


def streamed(name: str, root: Path, cache: Path) -> StreamedData:
    data = opened(name, root, cache)
    assert isinstance(data, StreamedData)
    return data


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with an ImageNet of 256 images, of which the last training image is damaged."""
    root = tmp_path_factory.mktemp("imagenet")
    write_imagenet(root, damaged=True)
    return root


# --- one image -------------------------------------------------------------------------------------------------------


def test_extensions_of_images_are_torchvisions() -> None:
    assert IMAGE_EXTENSIONS == IMG_EXTENSIONS


@pytest.mark.parametrize("number", range(5), ids=["cmyk", "png", "grey", "16 bits", "jpeg"])
def test_every_kind_of_image_becomes_the_same_rgb(tmp_path: Path, number: int) -> None:
    original = picture(np.random.default_rng(0), 100, 75)
    (tmp_path / "a.JPEG").write_bytes(odd(original, number))
    image = decode_rgb(FilePictures(tmp_path, np.array([b"a.JPEG"]), np.zeros(1, np.int64)), 0)
    assert (image.mode, image.size) == ("RGB", (100, 75))
    expected = original.convert("L").convert("RGB") if number in (2, 3) else original
    assert np.abs(np.asarray(image).astype(int) - np.asarray(expected)).mean() < 3


def test_a_palette_is_read(tmp_path: Path) -> None:
    original = Image.new("RGB", (9, 7), (255, 0, 0))
    (tmp_path / "a.gif").write_bytes(encoded(original.convert("P"), "gif"))
    image = decode_rgb(FilePictures(tmp_path, np.array([b"a.gif"]), np.zeros(1, np.int64)), 0)
    assert image.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (encoded(picture(np.random.default_rng(0), 100, 75))[:900], "truncated"),
        (encoded(picture(np.random.default_rng(0), 100, 75), "png")[:60], "not a readable image"),
        (b"", "empty"),
        (b"<html>404 Not Found</html>", "no known format"),
        (None, "No such file"),
    ],
    ids=["jpeg", "png", "empty", "html", "missing"],
)
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / "a.JPEG").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.JPEG: .*{why}"):
        decode_rgb(FilePictures(tmp_path, np.array([b"a.JPEG"]), np.zeros(1, np.int64)), 0)


# --- ImageNet --------------------------------------------------------------------------------------------------------


def test_imagenet_is_streamed(imagenet: Path, tmp_path: Path) -> None:
    data = streamed("imagenet", imagenet, tmp_path)
    assert (data.channels, data.num_classes, len(data.train), len(data.test)) == (3, 8, 192, 64)
    assert np.bincount(data.train.labels).tolist() == [24] * 8
    for index in (0, 1, 2, 3, 100):
        path = Path(data.train.name(index))
        assert path.parent.name == WNIDS[data.train.labels[index]]
        assert data.train.read(index) == path.read_bytes()
        with Image.open(path) as there:
            assert decode_rgb(data.train, index).size == there.size
    assert data.mean.tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert data.std.tolist() == pytest.approx([58.395, 57.12, 57.375])
    assert data.content_blake2b == fingerprint("imagenet", imagenet, tmp_path)


def test_a_damaged_image_is_found_when_it_is_read(imagenet: Path, tmp_path: Path) -> None:
    data = streamed("imagenet", imagenet, tmp_path)
    with pytest.raises(DataError, match=r"n04259630_00023\.JPEG: not a readable image: .*truncated"):
        decode_rgb(data.train, 191)


def test_pictures_go_to_another_process_as_paths(imagenet: Path, tmp_path: Path) -> None:
    data = streamed("imagenet", imagenet, tmp_path)
    sent = pickle.dumps(data.train)
    assert len(sent) < 1000  # of an array with 192 names of 38 bytes
    there = pickle.loads(sent)
    assert there.read(7) == data.train.read(7)
    assert np.array_equal(there.labels, data.train.labels)
    part = FilePictures(data.train.root, data.train.names[5:9], data.train.labels[5:9])  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(part)).name(0) == data.train.name(5)


@pytest.mark.parametrize("labels", ["devkit", "kaggle"])
def test_a_flat_validation_set_gets_the_official_labels(tmp_path: Path, labels: str) -> None:
    write_imagenet(tmp_path / "flat", train=1, val=3, labels_of_val=labels)  # type: ignore[arg-type]
    write_imagenet(tmp_path / "folders", train=1, val=3)
    flat = streamed("imagenet", tmp_path / "flat", tmp_path / "cache").test
    folders = streamed("imagenet", tmp_path / "folders", tmp_path / "cache").test
    expected = {Path(folders.name(i)).name: label for i, label in enumerate(folders.labels)}
    assert {Path(flat.name(i)).name: label for i, label in enumerate(flat.labels)} == expected


@pytest.mark.parametrize("below", [".", "data"])
def test_the_devkits_files_may_lie_beside_the_images(tmp_path: Path, below: str) -> None:
    folder = write_imagenet(tmp_path, train=1, val=2, labels_of_val="devkit")
    before = fingerprint("imagenet", tmp_path, tmp_path)
    (folder / below).mkdir(exist_ok=True)
    for path in (folder / "ILSVRC2012_devkit_t12" / "data").iterdir():
        path.rename(folder / below / path.name)
    assert fingerprint("imagenet", tmp_path, tmp_path) == before


def test_a_flat_validation_set_without_labels_says_where_they_belong(tmp_path: Path) -> None:
    folder = write_imagenet(tmp_path, train=1, val=1, labels_of_val="kaggle")
    (folder / "LOC_val_solution.csv").unlink()
    with pytest.raises(DataError, match=r"val has 8 images without class folders.*devkit_t12/data or .*LOC_val"):
        fingerprint("imagenet", tmp_path, tmp_path)


def test_a_validation_image_too_few_is_named(tmp_path: Path) -> None:
    folder = write_imagenet(tmp_path, train=1, val=1, labels_of_val="devkit")
    (folder / "val" / "ILSVRC2012_val_00000005.JPEG").unlink()
    with pytest.raises(DataError, match=r"val_00000005\.JPEG is missing"):
        fingerprint("imagenet", tmp_path, tmp_path)


def test_a_broken_devkit_is_named(tmp_path: Path) -> None:
    folder = write_imagenet(tmp_path, train=1, val=1, labels_of_val="devkit")
    (folder / "ILSVRC2012_devkit_t12" / "data" / "meta.mat").write_bytes(b"MATLAB")
    with pytest.raises(DataError, match=r"devkit_t12/data: meta\.mat or .* is not the official one"):
        fingerprint("imagenet", tmp_path, tmp_path)


def write_imagenet_shards(root: Path) -> list[bytes]:
    """A training image of each of the 1000 classes, of 40 different ones; returns all of them."""
    stream = np.random.default_rng(3)
    contents = [odd(picture(stream, 50 + index, 40), index) for index in range(40)] * 25
    labels = [index * 7 % 1000 for index in range(1000)]
    write_shards(root / "imagenet" / "data", "train", contents, labels, shards=3)
    write_shards(root / "imagenet" / "data", "validation", contents[:9], labels[:9])
    write_shards(root / "imagenet" / "data", "test", contents[:5], [-1] * 5)  # hidden labels: none of ours
    return contents


def test_streamed_shards_are_extracted_once(tmp_path: Path) -> None:
    contents = write_imagenet_shards(tmp_path)
    data = streamed("imagenet", tmp_path, tmp_path / "cache")
    assert (data.num_classes, len(data.train), len(data.test)) == (1000, 1000, 9)
    assert [data.train.read(index) for index in range(1000)] == contents
    assert data.train.labels.tolist() == [index * 7 % 1000 for index in range(1000)]
    assert data.train.name(340).endswith("train-00001-of-00003.parquet, row 6")  # after 334 in the first
    assert isinstance(data.train, PackedPictures)
    there = pickle.loads(pickle.dumps(data.train))
    assert there.read(39) == contents[39]
    shutil.rmtree(tmp_path / "imagenet")  # nothing is read from the shards any more
    assert decode_rgb(data.test, 8).size == (58, 40)


def test_a_full_disk_is_noticed_before_the_extraction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_imagenet_shards(tmp_path)
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match=r"0\.0 GB are needed in .*cache and 0\.0 GB are free; .*--data-cache"):
        opened("imagenet", tmp_path, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.blob"))


def test_the_space_check_counts_both_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = write_imagenet_shards(tmp_path)
    needed = sum(map(len, contents)) + sum(map(len, contents[:9]))
    asked: list[int] = []
    monkeypatch.setattr(
        "workers.data.preparing.writing.check_space", lambda name, folder, needed_bytes: asked.append(needed_bytes)
    )
    opened("imagenet", tmp_path, tmp_path / "cache")
    assert len(asked) == 1
    assert needed <= asked[0] < 1.5 * needed  # Parquet's own bytes weigh much beside images so small


def test_a_row_without_an_image_is_named(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, "train", [b"something", None], [0, 1], shards=1)
    with pytest.raises(DataError, match=r"train-00000-of-00001\.parquet, row 1: the image is missing"):
        ParquetPictures(paths).read(1)


# --- Tiny-ImageNet ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["root", "itself", "other name"])
def test_tiny_imagenet_is_decoded(tmp_path: Path, place: str) -> None:
    folder = write_tiny_imagenet(tmp_path)
    if place == "other name":
        folder = folder.rename(tmp_path / "tiny-imagenet-mine")
    root = folder if place == "itself" else tmp_path
    data = mapped("tiny-imagenet", root, tmp_path / "cache")
    assert data.train_images.shape == (80, 3, 64, 64)
    assert data.num_classes == 8
    assert data.train_labels.tolist() == [index // 10 for index in range(80)]  # numbered by sorted wnids
    assert data.test_labels.bincount().tolist() == [4] * 8
    source = find_source("tiny-imagenet", root, tmp_path).decode()
    for index in (0, 1, 79):
        pixels = np.asarray(decode_rgb(source.train, index)).transpose(2, 0, 1)  # type: ignore[union-attr]
        assert np.array_equal(data.train_images[index].numpy(), pixels)
    assert torch.equal(data.train_images[1, 0], data.train_images[1, 2])  # a grey one
    assert float(data.train_images.float().mean()) == pytest.approx(float(data.mean.mean()), abs=1e-3)


@pytest.mark.skipif(not REAL_TINY_IMAGENET.is_dir(), reason="the real Tiny-ImageNet is not beside this checkout")
def test_the_real_tiny_imagenet_is_read(tmp_path: Path) -> None:
    data = mapped("tiny-imagenet", REAL_TINY_IMAGENET, tmp_path)
    assert data.train_images.shape == (320, 3, 64, 64)
    assert data.test_labels.bincount().tolist() == [10] * 8


def test_tiny_imagenet_in_shards_is_decoded(tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    contents = [encoded(picture(stream, 64, 64), "png") for _ in range(10)] * 20
    write_shards(tmp_path / "tiny-imagenet" / "data", "train", contents, list(range(200)))
    write_shards(tmp_path / "tiny-imagenet" / "data", "valid", contents[:4], list(range(4)))
    data = mapped("tiny-imagenet", tmp_path, tmp_path / "cache")
    assert (data.num_classes, data.train_labels.tolist()) == (200, list(range(200)))
    assert encoded(Image.fromarray(data.train_images[9].permute(1, 2, 0).numpy()), "png") == contents[9]


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    folder = write_tiny_imagenet(tmp_path)
    path = folder / "train" / WNIDS[3] / "images" / f"{WNIDS[3]}_7.JPEG"
    path.write_bytes(encoded(picture(np.random.default_rng(0), 64, 48)))
    with pytest.raises(DataError, match=rf"{path.name}: the image is 48x64 pixels, expected 64x64"):
        opened("tiny-imagenet", tmp_path, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("tiny-imagenet-*/"))  # nothing half written


def remove_annotation(folder: Path) -> None:
    path = folder / "val" / "val_annotations.txt"
    path.write_text("".join(line for line in path.open() if not line.startswith("val_3.")))


def annotate_unknown(folder: Path) -> None:
    path = folder / "val" / "val_annotations.txt"
    path.write_text(path.read_text().replace(WNIDS[0], "n99999999"))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / "val" / "val_annotations.txt").unlink(), "val_annotations.txt is missing; expected"),
        (lambda folder: shutil.rmtree(folder / "train" / WNIDS[2]), f"{WNIDS[2]} holds no image"),
        (lambda folder: (folder / "val" / "images" / "val_3.JPEG").unlink(), "val_3.JPEG is missing"),
        (remove_annotation, "val_3.JPEG has no class in the table"),
        (annotate_unknown, "its class n99999999 is no training class"),
    ],
    ids=["no annotations", "no class", "no image", "not annotated", "unknown class"],
)
def test_a_faulty_tiny_imagenet_is_refused(tmp_path: Path, harm: Callable[[Path], None], message: str) -> None:
    harm(write_tiny_imagenet(tmp_path))
    with pytest.raises(DataError, match=message):
        fingerprint("tiny-imagenet", tmp_path, tmp_path)


# --- a user's own folder ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test", ["val", "valid", "validation", "test"])
def test_a_users_folder_is_streamed(tmp_path: Path, test: str) -> None:
    folder = write_image_folder(tmp_path / "insects", test=test)
    (folder / "train" / "ants" / "notes.txt").write_text("no image")
    (folder / "train" / "ants" / "._0.JPG").write_bytes(b"what macOS leaves")
    (folder / "train" / "ants" / "@eaDir").mkdir()
    (folder / "train" / "ants" / "@eaDir" / "0.jpg").write_bytes(b"what a Synology leaves")
    data = streamed("imagefolder:insects", tmp_path, tmp_path / "cache")
    assert (data.num_classes, len(data.train), len(data.test)) == (2, 12, 6)
    assert data.train.labels.tolist() == [0] * 6 + [1] * 6
    names = {Path(data.train.name(index)).relative_to(folder).as_posix() for index in range(6)}
    images = ("0.JPG", "more/1.png", "2.webp", "more/3.JPG", "4.png", "more/5.webp")
    assert names == {f"train/ants/{name}" for name in images}
    assert all(decode_rgb(data.test, index).mode == "RGB" for index in range(6))


def test_files_that_are_not_read_are_counted(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "insects")
    for name in ("train/ants/1.gif", "train/bees/2.GIF", "val/ants/3.avif", "val/bees/more/4"):
        (folder / name).write_bytes(b"anything")
    for name in ("Thumbs.db", ".DS_Store"):
        (folder / "train" / "ants" / name).write_bytes(b"what a system leaves")
    source = find_source("imagefolder:insects", tmp_path, tmp_path)
    assert source.left_out == {".gif": 2, ".avif": 1, "no extension": 1}
    for name in (b"3.\xff", *(f"4.{number}".encode() for number in range(30))):
        (folder / "train" / "ants" / os.fsdecode(name)).touch()
    many = find_source("imagefolder:insects", tmp_path, tmp_path).left_out
    assert (many[".gif"], many["other extensions"], len(many)) == (2, 14, 21)
    json.dumps(dict(many), ensure_ascii=False).encode()
    assert source.splits == {"train": SplitSummary(12, 2, 0, 1, 6, 6), "test": SplitSummary(6, 2, 0, 1, 3, 3)}


def test_a_class_of_files_that_are_not_read_names_their_extensions(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "insects")
    for path in sorted((folder / "train" / "bees").rglob("*.*")):
        path.rename(path.with_suffix(".jfif"))
    with pytest.raises(DataError, match=r"train/bees holds no image with an extension that is read .*\.jfif 6"):
        fingerprint("imagefolder:insects", tmp_path, tmp_path)


def test_a_test_folder_of_no_training_class_is_named(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "insects")
    (folder / "val" / "wasps").mkdir()
    with pytest.raises(DataError, match="val/wasps: wasps is none of the 2 training classes"):
        fingerprint("imagefolder:insects", tmp_path, tmp_path)


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_class_is_named(tmp_path: Path, split: str) -> None:
    folder = write_image_folder(tmp_path / "insects")
    shutil.rmtree(folder / split / "bees")
    (folder / split / "bees").mkdir()
    with pytest.raises(DataError, match=f"{split}/bees holds no image"):
        fingerprint("imagefolder:insects", tmp_path, tmp_path)


def test_names_are_looked_up() -> None:
    assert "imagefolder:NAME" in data_set_names()
    assert find_data_set("imagenette") is None
    assert find_data_set("picturefolder:x") is None
    for name in ("imagefolder:", "imagefolder:../up", "imagefolder:a/b", "imagefolder:.hidden"):
        with pytest.raises(DataError, match="give a folder's name"):
            find_data_set(name)


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("imagenet", "train/<wnid>"),
        ("tiny-imagenet", r"val_annotations\.txt"),
        ("imagefolder:insects", r"insects/ with train/<class>/"),
    ],
)
def test_missing_data_is_an_error_with_the_expected_layout(tmp_path: Path, name: str, layout: str) -> None:
    for root in (None, tmp_path):
        with pytest.raises(DataError, match=layout):
            fingerprint(name, root, tmp_path)


# --- fingerprints ----------------------------------------------------------------------------------------------------


def test_the_fingerprint_of_a_copy_is_equal_and_of_other_bytes_is_not(tmp_path: Path) -> None:
    write_imagenet(tmp_path / "a", train=3, val=2)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    path = tmp_path / "c" / "imagenet" / "train" / WNIDS[5] / f"{WNIDS[5]}_00001.JPEG"
    with Image.open(path) as image:
        path.write_bytes(encoded(image, quality=40))
    a, b, c = (fingerprint("imagenet", tmp_path / root, tmp_path) for root in "abc")
    assert a == b != c


def test_a_copy_of_the_data_is_read_from_its_own_root(tmp_path: Path) -> None:
    write_imagenet(tmp_path / "a", train=3, val=2)
    streamed("imagenet", tmp_path / "a", tmp_path / "cache")
    (tmp_path / "a").rename(tmp_path / "b")
    data = streamed("imagenet", tmp_path / "b", tmp_path / "cache")
    assert data.train.name(0).startswith(str(tmp_path / "b"))
    with pytest.raises(DataError, match="does not exist any more; give the --data-root"):
        open_data("imagenet", data.content_blake2b, tmp_path / "a", tmp_path / "cache")


# --- preparations that are killed, or race ---------------------------------------------------------------------------


def die_after(chunks: int) -> Callable[[str, int, int], None]:
    def progress(what: str, done: int, total: int) -> None:
        if "train" in what and done == chunks * writing.CHUNK:
            os._exit(9)  # no cleaning up

    return progress


@pytest.mark.parametrize("name", ["tiny-imagenet", "imagenet"])
def test_a_killed_preparation_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Decoding to arrays, and extraction from shards."""
    monkeypatch.setattr(writing, "CHUNK", 8)
    if name == "tiny-imagenet":
        write_tiny_imagenet(tmp_path)
    else:
        write_imagenet_shards(tmp_path)
    key, cache = fingerprint(name, tmp_path, tmp_path), tmp_path / "cache"
    opened(name, tmp_path, tmp_path / "unhurt")
    killed = get_context("fork").Process(target=open_data, args=(name, key, tmp_path, cache, die_after(3)))
    killed.start()
    killed.join()
    assert killed.exitcode == 9
    with (cache / f"{name}-{key}.partial" / f"train{'.blob' if name == 'imagenet' else '_images.npy'}").open("ab") as f:
        f.write(b"torn")
    steps: list[tuple[str, int, int]] = []
    open_data(name, key, tmp_path, cache, lambda *step: steps.append(step))
    assert next(done for what, done, total in steps if "train" in what) == 24
    results = [
        {path.name: path.read_bytes() for path in (folder / f"{name}-{key}").iterdir()}
        for folder in (cache, tmp_path / "unhurt")
    ]
    assert results[0].keys() == results[1].keys()
    for file, content in results[0].items():
        assert content == results[1][file], file
    assert not list(cache.glob("*.partial"))


def _race(root: Path, cache: Path) -> int:
    decoded = 0

    def progress(what: str, done: int, total: int) -> None:
        nonlocal decoded
        decoded += "decoding" in what and done > 0

    open_data("tiny-imagenet", fingerprint("tiny-imagenet", root, cache), root, cache, progress)
    return decoded


def test_processes_that_race_decode_once(tmp_path: Path) -> None:
    write_tiny_imagenet(tmp_path)
    with get_context("fork").Pool(2) as pool:
        assert sorted(pool.starmap(_race, [(tmp_path, tmp_path / "cache")] * 2)) == [0, 2]
