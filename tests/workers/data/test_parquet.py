"""A split's Parquet files: one complete set, classes that are numbers, images that are there; or one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.images import write_images
from workers.data import DataError, find_source
from workers.data.images.parquet import ParquetPictures
from workers.data.sets.shards import split_files


def named(folder: Path, *names: str) -> Path:
    """A folder with empty files of these names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ["train.parquet"],
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
        ["data/train-00000-of-00001-a1b2c3d4e5f60718.parquet"],
        ["plain_text/train/0000.parquet", "plain_text/train/0001.parquet"],
        ["train_1.parquet", "train_2.parquet"],
        [".cache/huggingface/train-00000-of-00009.parquet", "train.parquet"],
        ["train.parquet", "test.parquet", "unsupervised.parquet"],
    ],
)
def test_one_complete_set_is_found(names: list[str], tmp_path: Path) -> None:
    expected = [name for name in names if not name.startswith((".", "test", "uns"))]
    files = split_files(named(tmp_path, *names), ["train"])
    assert [file.relative_to(tmp_path).as_posix() for file in files] == expected


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            ["train-00000-of-00003.parquet", "train-00002-of-00003.parquet"],
            "train-00001-of-00003 is missing: 2 of 3 files of the split train are there",
        ),
        (["train-00000-of-00001.parquet", "train.parquet"], "are of different sets of files for one split; keep one"),
        (
            ["train-00000-of-00001.parquet", "train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
            "are of different sets of files for one split",
        ),
        (
            ["plain/train-00000-of-00001.parquet", "other/train-00000-of-00001.parquet"],
            "are the same part of the split train; keep one",
        ),
        (["train-00000-of-00001.parquet", "train-00001-of-00001.parquet"], "lies outside the 1 shards"),
        (["train/0000.parquet", "train/0002.parquet"], "0001.parquet is missing"),
        (["train.parquet", "train_augmented.parquet"], "its name does not tell whether it belongs to the split train"),
        (["training-extra.parquet"], "its name does not tell whether it belongs to the split train"),
    ],
)
def test_anything_but_one_complete_set_is_one_sentence(names: list[str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=sentence):
        split_files(named(tmp_path, *names), ["train"])


IMAGE = {"bytes": b"an image", "path": None}


def write(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (pa.array(["cat", "dog", "cat"]), "column label holds string; expected integers"),
        (pa.array([[0], [1], [0]]), r"column label holds list<.*>; expected integers"),
        (pa.array([0.0, 1.0, 1.0]), "column label holds double; expected integers"),
        (pa.array([True, False, True]), "column label holds bool; expected integers"),
        (pa.array([0, None, 1]), r"t\.parquet, row 1: column label is null"),
        (pa.array([0, 1, -1]), r"t\.parquet, row 2: column label holds -1, which is no class"),
        (pa.array([0, 2**64 - 1, 1], pa.uint64()), r"t\.parquet, row 1: column label holds 18446744073709551615"),
    ],
)
def test_labels_that_are_no_classes_are_named_by_file_column_and_row(
    labels: pa.Array, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=sentence):
        ParquetPictures([write(tmp_path / "t.parquet", image=[IMAGE] * 3, label=labels)])


@pytest.mark.parametrize("labels", [pa.array([2, 0, 1], pa.uint8()), pa.array([2, 0, 1]).dictionary_encode()])
def test_integers_of_any_type_are_classes(labels: pa.Array, tmp_path: Path) -> None:
    pictures = ParquetPictures([write(tmp_path / "t.parquet", image=[IMAGE] * 3, label=labels)])
    assert pictures.labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (pa.array([[1, 2], [3, 4]]), "column image holds list<.*>; expected encoded images"),
        (pa.array([{"path": "a.png"}] * 2), "column image holds struct<path: string>; expected encoded images"),
    ],
)
def test_a_column_without_encoded_images_is_refused(image: pa.Array, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=sentence):
        ParquetPictures([write(tmp_path / "t.parquet", image=image, label=[0, 1])])


@pytest.mark.parametrize(
    "content",
    [
        pa.array([b"an image", b"another"], pa.large_binary()),
        pa.array([b"an image", b"another"], pa.binary_view()),
        pa.array([b"an image", b"another"]).dictionary_encode(),
    ],
    ids=lambda content: str(content.type)[:12],
)
def test_images_are_binary_values_of_any_type(content: pa.Array, tmp_path: Path) -> None:
    images = pa.StructArray.from_arrays([content], ["bytes"])
    pictures = ParquetPictures([write(tmp_path / "t.parquet", image=images, label=[0, 1])])
    assert pictures.read(1) == b"another"


MISSING = "t.parquet, row 3: the image is missing: column image has no bytes there"


@pytest.mark.parametrize("missing", [None, {"bytes": None, "path": "a.png"}])
def test_an_image_that_is_null_is_named_by_file_column_and_row(missing: Any, tmp_path: Path) -> None:
    table = pa.table({"image": [IMAGE, IMAGE, IMAGE, missing], "label": [0, 1, 0, 1]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    with pytest.raises(DataError, match=MISSING):  # the footer tells
        ParquetPictures([tmp_path / "t.parquet"])
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2, write_statistics=False)
    pictures = ParquetPictures([tmp_path / "t.parquet"])
    with pytest.raises(DataError, match=MISSING):
        pictures.read(3)


def test_two_label_columns_are_a_question(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", image=[IMAGE], label=[0], fine_label=[1])
    with pytest.raises(DataError, match="has columns label and fine_label, and only one of them can be meant"):
        ParquetPictures([path])


def test_fewer_classes_than_the_data_set_has_are_refused_by_a_plan(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_images(tmp_path / "cifar100" / f"{split}.parquet", 20)
    with pytest.raises(DataError, match="cifar100: training images: 10 of 100 classes occur, without 10, 11, 12"):
        find_source("cifar100", tmp_path, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_source_tells_what_its_parquet_files_hold(tmp_path: Path) -> None:
    write_images(tmp_path / "cifar10" / "train.parquet", 20)
    write_images(tmp_path / "cifar10" / "test.parquet", 10)
    splits = find_source("cifar10", tmp_path, tmp_path).splits
    assert splits is not None
    assert {name: split.images for name, split in splits.items()} == {"train": 20, "test": 10}


@pytest.mark.parametrize(
    ("name", "there", "sentence"),
    [
        ("cifar100", "cifar-100-python.tar.gz", r"cifar-100-python\.tar\.gz is not unpacked; unpack it in"),
        ("cifar10", "CIFAR-10/train.parquet", "CIFAR-10: this folder's name has to be exactly cifar10; rename it"),
        ("cifar10", "cifar10/train/data-00000-of-00001.arrow", "is an Arrow file, as save_to_disk writes it"),
        ("cifar10", "cifar10/part-0.parquet", "part-0.parquet: its name does not tell its split"),
        ("imagenet", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_train.tar is not unpacked"),
        ("tiny-imagenet", "tiny-imagenet-200.zip", "tiny-imagenet-200.zip is not unpacked"),
        ("imagefolder:birds", "Birds/train/a/1.png", "Birds: this folder's name has to be exactly birds"),
        ("imagefolder:" + "b" * 220, "x", "give a folder's name, of at most 100 letters"),
    ],
)
def test_data_of_another_form_is_told_from_no_data(name: str, there: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=sentence):
        find_source(name, named(tmp_path, there), tmp_path / "cache")
