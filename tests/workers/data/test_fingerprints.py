"""A data set's fingerprint changes with any byte and any label, and with nothing else; files are read once."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.workers.data.test_data import write_images
from workers.data import DataError, StreamedData, find_source, fingerprint, open_data, why_anew
from workers.data.fingerprints import content as contents
from workers.data.fingerprints import reading
from workers.data.images.encoded import decode_rgb

NAME = "imagefolder:shapes"
LONG_AGO_S = 1_700_000_000


def write_shapes(root: Path, *, seed: int = 0) -> Path:
    """Two classes of two training images and a test image, all of one size in bytes, written long ago."""
    stream = np.random.default_rng(seed)
    for split, count in (("train", 2), ("val", 1)):
        for class_ in ("dark", "light"):
            folder = root / "shapes" / split / class_
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                image = Image.fromarray(stream.integers(0, 256, (40, 40, 3), dtype=np.uint8))
                image.save(folder / f"{number}.bmp")
    settle(root)
    return root


def settle(root: Path) -> None:
    """Files written a moment ago are read again; the time of change cannot be set back, so only tests of it wait."""
    for path in root.rglob("*.*"):
        os.utime(path, (LONG_AGO_S, LONG_AGO_S))


def flip(path: Path, place: int) -> None:
    """Flip a bit in place, and keep the file's size and time of modification."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("file", ["train/dark/0.bmp", "train/light/1.bmp", "val/light/0.bmp"])
@pytest.mark.parametrize("place", [6, 2427, -1])  # a header of no sense is refused, and bytes 6 to 9 mean nothing
def test_any_byte_of_any_image_counts(tmp_path: Path, file: str, place: int) -> None:
    root, cache = write_shapes(tmp_path / "a"), tmp_path / "cache"
    before = fingerprint(NAME, root, cache)
    flip(root / "shapes" / file, place)
    assert fingerprint(NAME, root, cache) != before
    flip(root / "shapes" / file, place)
    assert fingerprint(NAME, root, cache) == before


def test_other_pixels_under_the_same_names_are_other_data(tmp_path: Path) -> None:
    before = fingerprint(NAME, write_shapes(tmp_path), tmp_path / "cache")
    assert fingerprint(NAME, write_shapes(tmp_path, seed=1), tmp_path / "cache") != before


def test_a_copy_and_its_times_do_not_count(tmp_path: Path) -> None:
    before = fingerprint(NAME, write_shapes(tmp_path / "a"), tmp_path / "cache")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for path in (tmp_path / "b").rglob("*.bmp"):
        os.utime(path, (1, 1))
    assert fingerprint(NAME, tmp_path / "b", tmp_path / "cache") == before
    assert fingerprint(NAME, tmp_path / "b", tmp_path / "another cache") == before


def test_labels_and_the_list_of_files_count(tmp_path: Path) -> None:
    root, cache = write_shapes(tmp_path), tmp_path / "cache"
    train, seen = root / "shapes/train", [fingerprint(NAME, root, cache)]
    shutil.copy(train / "dark/0.bmp", train / "dark/2.bmp")
    seen.append(fingerprint(NAME, root, cache))
    (train / "dark/2.bmp").rename(train / "light/2.bmp")
    seen.append(fingerprint(NAME, root, cache))
    (train / "light").rename(train / "bright")
    (root / "shapes/val/light").rename(root / "shapes/val/bright")
    seen.append(fingerprint(NAME, root, cache))
    assert len(set(seen)) == 4


def test_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SETTLED_NS", -(10**18))  # as if the files had been written long ago
    root, cache = write_shapes(tmp_path), tmp_path / "cache"
    before = fingerprint(NAME, root, cache)
    read: list[str] = []
    entry = reading._entry
    monkeypatch.setattr(reading, "_entry", lambda path, *rest: [read.append(path.name), entry(path, *rest)][1])
    assert fingerprint(NAME, root, cache) == before
    assert read == []
    flip(root / "shapes/train/dark/1.bmp", 100)
    assert fingerprint(NAME, root, cache) != before
    assert read == ["1.bmp"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense"])
def test_a_damaged_memory_costs_another_reading(tmp_path: Path, content: bytes) -> None:
    root, cache = write_shapes(tmp_path), tmp_path / "cache"
    before = fingerprint(NAME, root, cache)
    (remembered,) = (cache / contents.Memory.at(cache, NAME, root / "shapes").folder).glob("*.npz")
    remembered.write_bytes(content)
    assert fingerprint(NAME, root, cache) == before


def test_a_large_folder_is_read_at_both_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "WHOLE_BYTES", 0)
    (folder := tmp_path / "shapes/train/dark").mkdir(parents=True)
    (tmp_path / "shapes/val/dark").mkdir(parents=True)
    for path in (folder / "0.bmp", tmp_path / "shapes/val/dark/0.bmp"):
        Image.new("RGB", (100, 67)).save(path)  # 20 kB
    before = fingerprint(NAME, tmp_path, tmp_path / "cache")
    assert before.startswith("ends-")
    flip(folder / "0.bmp", 10_000)
    assert fingerprint(NAME, tmp_path, tmp_path / "cache") == before
    for place in (6, -1):
        flip(folder / "0.bmp", place)
        assert fingerprint(NAME, tmp_path, tmp_path / "cache") != before
        flip(folder / "0.bmp", place)


def test_a_large_folder_is_read_whole_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, cache = write_shapes(tmp_path), tmp_path / "cache"
    whole = fingerprint(NAME, root, cache)
    monkeypatch.setattr(contents, "WHOLE_BYTES", 0)
    monkeypatch.setattr(reading, "ENDS_BYTES", 1 << 8)
    ends = fingerprint(NAME, root, cache)
    assert ends.startswith("ends-")
    assert find_source(NAME, root, cache, every_byte=True).fingerprint == whole
    assert open_data(NAME, whole, root, cache).content_blake2b == whole  # as a worker does, from the stage's key
    assert open_data(NAME, ends, root, cache).content_blake2b == ends
    assert str(why_anew(NAME, [whole], ends, cache)).endswith("computed anew, unless you give --hash-all-data.")
    assert "covered both ends of every file; it now covers every byte" in str(why_anew(NAME, [ends], whole, cache))
    flip(root / "shapes/train/dark/0.bmp", 2_000)
    assert fingerprint(NAME, root, cache) == ends
    now = find_source(NAME, root, cache, every_byte=True).fingerprint
    assert now != whole
    assert "1 of 6 files differs (train/dark/0.bmp)" in str(why_anew(NAME, [whole], now, cache))


def test_a_large_folder_is_read_whole_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SETTLED_NS", -(10**18))  # as if the files had been written long ago
    monkeypatch.setattr(contents, "WHOLE_BYTES", 0)
    monkeypatch.setattr(reading, "ENDS_BYTES", 1 << 8)
    root, cache = write_shapes(tmp_path), tmp_path / "cache"
    whole = find_source(NAME, root, tmp_path / "another cache", every_byte=True).fingerprint
    ends = fingerprint(NAME, root, cache)
    assert find_source(NAME, root, cache, every_byte=True).fingerprint == whole
    assert fingerprint(NAME, root, cache) == ends
    read: list[tuple[str, int, int]] = []
    find_source(NAME, root, cache, lambda *shown: read.append(shown), every_byte=True)
    assert read == []


@pytest.mark.parametrize(("most", "kind"), [(10**9, "parquet-"), (0, "shards-")])
def test_any_byte_of_parquet_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, kind: str) -> None:
    monkeypatch.setattr(contents, "SEQUENTIAL_BYTES", most)
    for split in ("train", "test"):
        write_images(tmp_path / f"cifar10/{split}.parquet", 10)
    path = tmp_path / "cifar10/train.parquet"
    before = fingerprint("cifar10", tmp_path, tmp_path / "cache")
    assert before.startswith(kind)
    for place in (5, path.stat().st_size // 2, path.stat().st_size * 3 // 4):  # the footer has to be readable
        flip(path, place)
        assert fingerprint("cifar10", tmp_path, tmp_path / "cache") != before
        flip(path, place)
    assert fingerprint("cifar10", tmp_path, tmp_path / "cache") == before


@pytest.mark.parametrize("most", [10**9, 0])
def test_a_parquet_file_that_moves_to_the_other_split_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(contents, "SEQUENTIAL_BYTES", most)
    folder, cache = tmp_path / "cifar10", tmp_path / "cache"
    for number, name in enumerate(("train-0", "train-1", "test-0"), start=10):
        write_images(folder / f"{name}.parquet", number)
    before = fingerprint("cifar10", tmp_path, cache)
    (folder / "test-0.parquet").rename(folder / "test-1.parquet")
    (folder / "train-1.parquet").rename(folder / "test-0.parquet")  # the same files in the same order
    assert fingerprint("cifar10", tmp_path, cache) != before


def test_small_parquet_keeps_the_fingerprint_of_earlier_versions(tmp_path: Path) -> None:
    for split, images in (("train", 10), ("test", 2)):
        write_images(tmp_path / f"cifar10/{split}.parquet", images)
    contents_ = [(tmp_path / f"cifar10/{split}.parquet").read_bytes() for split in ("train", "test")]
    parts = [part for content in contents_ for part in (len(content).to_bytes(8, "big"), content)]
    expected = f"parquet-{hashlib.blake2b(b''.join(parts), digest_size=16).hexdigest()}"
    assert fingerprint("cifar10", tmp_path, tmp_path / "cache") == expected


def test_what_a_version_before_remembered_under_another_kind_of_key_does_not_count(tmp_path: Path) -> None:
    folder, cache = tmp_path / "cifar10", tmp_path / "cache"
    for number, name in enumerate(("train-0", "test-0", "test-1"), start=10):
        write_images(folder / f"{name}.parquet", number)
    now = fingerprint("cifar10", tmp_path, cache)
    memory = contents.Memory.at(cache, "cifar10", folder)
    (remembered := memory.latest(whole=True)) or pytest.fail("nothing is remembered")
    (memory.folder / f"{now}.npz").unlink()
    memory.write("parquet-1", remembered.facts, remembered.manifest)
    assert fingerprint("cifar10", tmp_path, cache) == now
    assert "covered every byte of its Parquet files; it now covers" in str(
        why_anew("cifar10", ["parquet-1"], now, cache)
    )


def test_an_image_that_changes_after_the_start_is_refused_when_it_is_read(tmp_path: Path) -> None:
    root, cache = write_shapes(tmp_path), tmp_path / "cache"
    data = open_data(NAME, fingerprint(NAME, root, cache), root, cache)
    assert isinstance(data, StreamedData)
    decode_rgb(data.train, 1)
    os.utime(root / "shapes/train/dark/1.bmp", (5, 5))  # the same bytes
    decode_rgb(data.train, 1)
    flip(root / "shapes/train/dark/1.bmp", 500)
    decode_rgb(data.train, 0)
    with pytest.raises(DataError, match=r"train/dark/1\.bmp changed on .* UTC, after the data set's fingerprint"):
        decode_rgb(data.train, 1)


def test_data_that_changed_since_the_plan_names_the_files(tmp_path: Path) -> None:
    root, cache = write_shapes(tmp_path), tmp_path / "cache"
    planned = fingerprint(NAME, root, cache)
    flip(root / "shapes/train/dark/1.bmp", 500)
    with pytest.raises(DataError, match=r"changed since .* UTC: 1 of 6 files differs \(train/dark/1\.bmp\)"):
        open_data(NAME, planned, root, cache)


def test_parquet_that_changes_while_it_is_decoded_is_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_images(tmp_path / f"cifar10/{split}.parquet", 10)
    planned = fingerprint("cifar10", tmp_path, tmp_path / "cache")

    def progress(task: str, done: int, total: int) -> None:
        if "test images" in task:
            os.utime(tmp_path / "cifar10/train.parquet", (7, 7))

    with pytest.raises(DataError, match=r"changed while it was prepared: 1 of 2 files \(train\.parquet\)"):
        open_data("cifar10", planned, tmp_path, tmp_path / "cache", progress)
    assert not list((tmp_path / "cache").glob("cifar10-*/"))


def test_a_pipe_among_the_images_is_refused(tmp_path: Path) -> None:
    root = write_shapes(tmp_path)
    os.mkfifo(root / "shapes/train/dark/9.bmp")
    with pytest.raises(DataError, match=r"9\.bmp is no file"):
        fingerprint(NAME, root, tmp_path / "cache")


def test_columns_of_labels_count(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_images(tmp_path / f"cifar10/{split}.parquet", 10)
    before = fingerprint("cifar10", tmp_path, tmp_path / "cache")
    path = tmp_path / "cifar10/train.parquet"
    table = pq.read_table(path)
    where = table.column_names.index("label")
    pq.write_table(table.set_column(where, "label", pa.array(table["label"].to_pylist()[::-1])), path)
    assert fingerprint("cifar10", tmp_path, tmp_path / "cache") != before


def test_changed_data_and_keys_of_earlier_versions_are_named(tmp_path: Path) -> None:
    root, cache = write_shapes(tmp_path), tmp_path / "cache"
    before = fingerprint(NAME, root, cache)
    flip(root / "shapes/val/dark/0.bmp", 500)
    now = fingerprint(NAME, root, cache)
    changed = why_anew(NAME, [before], now, cache)
    assert changed is not None
    assert changed.startswith(f"{NAME} changed since ")
    assert changed.endswith("1 of 6 files differs (val/dark/0.bmp); its stages are computed anew.")
    assert "covered names and some sizes, and no pixel" in str(why_anew(NAME, ["files-1"], now, cache))
    assert why_anew(NAME, [before, now], now, cache) is None
    assert why_anew(NAME, ["content-of-another-folder"], now, cache) is None
