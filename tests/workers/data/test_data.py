import hashlib
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.transforms import functional as TF

from tests.support.images import REAL_CIFAR10, png, write_images
from workers.data import DataError, fingerprint, open_data, prepared_folder, splits
from workers.data.augmentation import augmented, draw_epoch
from workers.data.batches import Split
from workers.data.splits import split_data
from workers.stages import Augmentation, Data


def test_mnist1d_is_the_benchmark_of_that_name(data_cache: Path) -> None:
    data = open_data("mnist1d", fingerprint("mnist1d", None, data_cache), None, data_cache)
    assert data.train_images.shape == (4000, 1, 1, 40)
    assert data.test_images.shape == (1000, 1, 1, 40)
    assert data.train_images.dtype == torch.uint8
    assert sorted(set(data.train_labels.tolist())) == list(range(10))
    assert float(data.train_images.float().mean()) == pytest.approx(float(data.mean), abs=1e-3)
    assert float(data.train_images.float().std()) == pytest.approx(float(data.std), abs=1e-2)


def test_mnist1d_shuffled_has_the_same_signals_in_one_other_order(data_cache: Path) -> None:
    plain, shuffled = (
        open_data(name, fingerprint(name, None, data_cache), None, data_cache)
        for name in ("mnist1d", "mnist1d_shuffled")
    )
    assert torch.equal(plain.train_labels, shuffled.train_labels)
    a, b = (data.train_images.flatten(1).double() for data in (plain, shuffled))
    # each sample of the one has one twin in the other; all signals agree in the order
    order = [int((a[:, [place]] - b).abs().sum(0).argmin()) for place in range(40)]
    assert sorted(order) == list(range(40))
    assert order != list(range(40))
    assert torch.equal(plain.train_images, shuffled.train_images[..., order])


@pytest.mark.parametrize(("image", "label"), [("image", "label"), ("img", "fine_label")])
def test_parquet_images_are_read_to_the_pixel(tmp_path: Path, image: str, label: str) -> None:
    root = tmp_path / "data"
    train = write_images(
        root / "cifar100/data/train-00000-of-00001.parquet", 120, image=image, label=label, classes=100
    )
    write_images(root / "cifar100/data/test-00000-of-00001.parquet", 4, image=image, label=label)
    key = fingerprint("cifar100", root, tmp_path)
    data = open_data("cifar100", key, root, tmp_path / "cache")
    assert np.array_equal(data.train_images.numpy(), train.transpose(0, 3, 1, 2))
    assert data.train_labels.tolist() == [i % 100 for i in range(120)]


def test_the_fingerprint_depends_on_content_and_not_on_place(tmp_path: Path) -> None:
    for root, count in (("a", 12), ("b", 12), ("c", 13)):
        write_images(tmp_path / root / "cifar10/train.parquet", count)
        write_images(tmp_path / root / "cifar10/test.parquet", 4)
    a, b, c = (fingerprint("cifar10", tmp_path / root, tmp_path) for root in "abc")
    assert a == b != c


def test_a_damaged_image_names_its_file_and_row(tmp_path: Path) -> None:
    path = tmp_path / "cifar10/train.parquet"
    write_images(tmp_path / "cifar10/test.parquet", 2)
    good = png(np.zeros((32, 32, 3), dtype=np.uint8))
    rows = [{"bytes": good[:60] if row == 1 else good, "path": None} for row in range(10)]
    pq.write_table(pa.table({"image": rows, "label": list(range(10))}), path)
    with pytest.raises(DataError, match=r"train\.parquet, row 1: not a readable image"):
        open_data("cifar10", fingerprint("cifar10", tmp_path, tmp_path), tmp_path, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("cifar10-*/"))  # nothing half written


def test_labels_out_of_range_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "cifar10/train.parquet", 12, classes=11)
    write_images(tmp_path / "cifar10/test.parquet", 2)
    with pytest.raises(
        DataError, match=r"train\.parquet, row 10: column label holds 10, and the classes of cifar10 go from 0 to 9"
    ):
        open_data("cifar10", fingerprint("cifar10", tmp_path, tmp_path), tmp_path, tmp_path / "cache")


def test_data_that_changed_since_the_plan_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "cifar10/train.parquet", 12)
    write_images(tmp_path / "cifar10/test.parquet", 2)
    with pytest.raises(DataError, match="differs from the data that the stage was planned for"):
        open_data("cifar10", "parquet-of-another-day", tmp_path, tmp_path / "cache")


def write_torchvisions_files(
    root: Path, files: type[CIFAR10], monkeypatch: pytest.MonkeyPatch
) -> dict[str, np.ndarray]:
    """An image of each class in each of torchvision's files, with their checksums; the pixels by file."""
    folder, classes = root / files.base_folder, 100 if files is CIFAR100 else 10
    label = "fine_labels" if files is CIFAR100 else "labels"
    folder.mkdir()
    stream = np.random.default_rng(0)

    def written(name: str, content: object) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    pixels = {}
    for part in ("train_list", "test_list"):
        names = [name for name, _ in getattr(files, part)]
        pixels |= {name: stream.integers(0, 256, (classes, 3072), dtype=np.uint8) for name in names}
        sums = [[name, written(name, {"data": pixels[name], label: list(range(classes))})] for name in names]
        monkeypatch.setattr(files, part, sums)
    meta = {**files.meta, "md5": written(files.meta["filename"], {files.meta["key"]: ["x"] * 10})}
    monkeypatch.setattr(files, "meta", meta)
    return pixels


@pytest.mark.parametrize(("name", "files"), [("cifar10", CIFAR10), ("cifar100", CIFAR100)])
def test_torchvisions_files_are_read_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, files: type[CIFAR10]
) -> None:
    pixels = write_torchvisions_files(tmp_path, files, monkeypatch)
    data = open_data(name, fingerprint(name, tmp_path, tmp_path), tmp_path, tmp_path / "cache")
    assert len(data.train_images) == data.num_classes * len(files.train_list)
    first = pixels[files.train_list[0][0]][0].reshape(3, 32, 32)
    assert np.array_equal(data.train_images[0].numpy(), first)


@pytest.mark.parametrize("damaged", ["data_batch_1", "test_batch", "batches.meta"])
def test_a_file_that_is_not_the_published_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: str
) -> None:
    write_torchvisions_files(tmp_path, CIFAR10, monkeypatch)
    path = tmp_path / "cifar-10-batches-py" / damaged
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    key = fingerprint("cifar10", tmp_path, tmp_path)
    with pytest.raises(DataError, match=rf"{damaged} is not the published file: .* unpack cifar-10-python\.tar\.gz in"):
        open_data("cifar10", key, tmp_path, tmp_path / "cache")
    path.unlink()
    with pytest.raises(DataError, match=rf"{damaged} is missing; unpack cifar-10-python\.tar\.gz in .* again"):
        open_data("cifar10", key, tmp_path, tmp_path / "cache")


def _open(cache: Path) -> int:
    import tests.conftest  # noqa: F401  (registers the data set in this process)

    return len(open_data("tiny", "tiny-1", None, cache).train_labels)


def test_processes_that_race_for_a_data_set_all_get_it(tmp_path: Path) -> None:
    with get_context("fork").Pool(4) as pool:
        assert pool.map(_open, [tmp_path] * 4) == [230] * 4


@pytest.mark.parametrize(("augmentation", "padding"), [("crop_flip", 4), ("crop_flip_2", 2)])
def test_crop_and_flip_equal_torchvisions_for_the_same_draws(augmentation: Augmentation, padding: int) -> None:
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 3, 32, 32), generator=stream, dtype=torch.uint8)
    draws = draw_epoch(20, 0, 0, augmentation)
    assert sorted(set(draw_epoch(500, 0, 0, augmentation).geometry.flatten().tolist())) == list(range(2 * padding + 1))
    got = augmented(images[draws.order], draws, augmentation)
    for row, (top, left) in enumerate(draws.geometry.tolist()):
        expected = TF.crop(TF.pad(images[draws.order[row]], [padding]), top, left, 32, 32)
        if draws.flip[row]:
            expected = TF.hflip(expected)
        assert torch.equal(got[row], expected)
    assert torch.equal(augmented(images, draws, "none"), images)


def _images(split: Split) -> torch.Tensor:
    return torch.cat([batch.images for batch in split.in_order(50)])


def test_the_validation_split_is_disjoint_and_the_same_every_time(data_cache: Path) -> None:
    data = open_data("tiny", "tiny-1", None, data_cache)
    one, two = (split_data(data, Data("tiny", "tiny-1", 0.1), torch.device("cpu")) for _ in range(2))
    assert (len(one.train), len(one.validation), len(one.test)) == (207, 23, 60)
    assert torch.equal(_images(one.validation), _images(two.validation))
    held = {picture.numpy().tobytes() for picture in _images(one.validation)}
    assert not held & {picture.numpy().tobytes() for picture in _images(one.train)}
    none = split_data(data, Data("tiny", "tiny-1", 0.0), torch.device("cpu"))
    assert (len(none.train), len(none.validation)) == (230, 0)


@pytest.mark.skipif(not REAL_CIFAR10.is_dir(), reason="the real CIFAR-10 is not beside this checkout")
def test_the_real_cifar10_is_found(tmp_path: Path) -> None:
    assert fingerprint("cifar10", REAL_CIFAR10.parent, tmp_path).startswith("parquet-")


def test_the_digest_of_the_same_pixels_stays_what_it_was(tmp_path: Path) -> None:
    """Records of earlier versions hold the digest, and their keys the fingerprint."""
    name = "cifar10"
    write_images(tmp_path / name / "train.parquet", 12)
    write_images(tmp_path / name / "test.parquet", 4)
    data = open_data(name, fingerprint(name, tmp_path, tmp_path), tmp_path, tmp_path / "cache")
    assert data.content_blake2b == "077a6e756e3d6d3b91ed765a5856b087"
    assert data.mean.tolist() == pytest.approx([128.165771484375, 127.50911712646484, 128.0081329345703], rel=1e-7)


def test_images_are_normalised_by_their_own_statistics_or_by_the_ones_given(
    data_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_data("tiny", "tiny-1", None, data_cache)
    plain = split_data(data, Data("tiny", "tiny-1", 0.0), torch.device("cpu"))
    pixels = plain.normalized(next(plain.train.in_order(1000)).images)
    assert float(pixels.mean()) == pytest.approx(0, abs=1e-4)
    assert float(pixels.std()) == pytest.approx(1, abs=1e-3)
    spec = Data("tiny", "tiny-1", 0.0, pixel_mean=(0.25,), pixel_std=(0.5,))
    given = split_data(data, spec, torch.device("cpu"))
    images = next(given.train.in_order(10)).images
    torch.testing.assert_close(given.normalized(images), (images / 255 - 0.25) / 0.5)
    coloured = replace(given, mean=99 * torch.rand(1, 3, 1, 1), inverse_std=torch.rand(1, 3, 1, 1))
    pictures = torch.randint(0, 256, (4, 3, 6, 9), dtype=torch.uint8)
    monkeypatch.setattr(splits, "BYTES_IN_CACHE", 3 * pictures[0].numel() * 4)  # 3 of the 4 at once
    expected = (pictures.float() - coloured.mean) * coloured.inverse_std
    for held in (pictures, pictures.to(memory_format=torch.channels_last)):
        kept = held.clone()
        normalized = coloured.normalized(held)
        assert torch.equal(normalized, expected)
        assert normalized.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(held, kept)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("meta.json", lambda path: path.write_bytes(path.read_bytes()[:-1])),
        ("meta.json", lambda path: path.write_text("[]", encoding="utf-8")),
        ("meta.json", lambda path: path.write_text('{"mean": "x"}', encoding="utf-8")),
        ("meta.json", lambda path: path.write_text(path.read_text("utf-8").replace('"std": [', '"std": [1'), "utf-8")),
        ("train_images.npy", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x00")),
        ("test_labels.npy", lambda path: path.write_bytes((path.parent / "train_labels.npy").read_bytes())),
        ("train_images.npy", lambda path: path.write_bytes(path.read_bytes()[:100])),
        ("test_labels.npy", lambda path: path.unlink()),
    ],
)
def test_damaged_prepared_data_is_named_with_the_remedy(
    tmp_path: Path, file: str, damage: Callable[[Path], object]
) -> None:
    key = fingerprint("mnist1d", None, tmp_path)
    open_data("mnist1d", key, None, tmp_path)
    damage(prepared_folder("mnist1d", key, tmp_path) / file)
    with pytest.raises(DataError, match=r"is damaged \(.*\); remove that folder, and the next run prepares"):
        open_data("mnist1d", key, None, tmp_path)


def test_prepared_data_of_an_early_version_is_summarized_again(tmp_path: Path) -> None:
    key = fingerprint("mnist1d", None, tmp_path)
    whole = open_data("mnist1d", key, None, tmp_path)
    path = prepared_folder("mnist1d", key, tmp_path) / "meta.json"
    early = {name: value for name, value in json.loads(path.read_text()).items() if name not in ("blake2b", "files")}
    path.write_text(json.dumps(early))
    assert torch.equal(open_data("mnist1d", key, None, tmp_path).mean, whole.mean)
    path.write_text(json.dumps({**early, "mean": [1.0]}))
    with pytest.raises(DataError, match="the arrays differ from their summary"):
        open_data("mnist1d", key, None, tmp_path)
