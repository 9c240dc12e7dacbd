"""Write a data set in the form that workers map: arrays of decoded images, or an index of encoded images.

Images are processed in chunks, so that a killed process loses one chunk of its work.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from tickets.files import digest
from tickets.files.writing import replacing
from workers.data.errors import DataError
from workers.data.fingerprints.reading import ProgressCallback
from workers.data.images.encoded import Encoded, FilePictures, Origins, PackedPictures, Pictures, decode_pixels
from workers.data.images.headers import header_fault
from workers.data.images.parquet import ParquetPictures

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
CHUNK = 1024


@contextmanager
def locked(folder: Path, name: str) -> Iterator[Path | None]:
    """Lock a data set's folder; yield the temporary folder to fill, or None if another process has filled it.

    Raises:
        DataError: the cache cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            yield None if (folder / "meta.json").exists() else folder.with_name(f"{folder.name}.partial")
    except OSError as error:
        raise DataError(
            f"{name}: cannot write the prepared data to {folder.parent} ({error}); set --data-cache"
        ) from error


def publish(partial: Path, folder: Path, meta: Mapping[str, Any], prepared_unix_s: float | None = None) -> None:
    """Seal a filled folder and rename it; its ``meta.json`` is from now on, or from ``prepared_unix_s``."""
    path = partial / "meta.json"
    path.write_text(json.dumps(seal(partial, meta)), encoding="utf-8")
    if prepared_unix_s is not None:
        os.utime(path, (prepared_unix_s, prepared_unix_s))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def decode_images(folder: Path, name: str, content: Encoded, progress: ProgressCallback) -> None:
    """Decode both splits, from where a killed process stopped; DataError for a bad image or too little space."""
    assert content.size is not None
    height, width = content.size
    check_space(name, folder, (len(content.train) + len(content.test)) * 3 * height * width)
    for split, pictures in (("train", content.train), ("test", content.test)):
        np.save(folder / f"{split}_labels.npy", np.asarray(pictures.labels))
        task = f"{name}: decoding {split} images"
        _decode_split(folder / f"{split}_images.npy", pictures, content.size, task, progress)


def _decode_split(path: Path, pictures: Pictures, size: tuple[int, int], task: str, progress: ProgressCallback) -> None:
    path.touch()
    # written instead of mapped, since a full disk would kill the process through a mapping
    with path.open("r+b") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (len(pictures), 3, *size)}
        )
        start = file.tell()
        for chunk in remaining(path.with_suffix(".done"), task, len(pictures), progress):
            file.seek(start + chunk.start * 3 * size[0] * size[1])
            for index in chunk:  # in one thread: for images this small, more would wait for the interpreter's lock
                file.write(decode_pixels(pictures, size, index).tobytes())
            file.flush()
            os.fsync(file.fileno())


def seal(folder: Path, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Add the size and digest of every written array, and a digest of it all, so that damage is seen.

    Of packed images only the size is kept: they may be 150 GB.
    """
    arrays = {path.name: [path.stat().st_size, digest.of_file(path)] for path in sorted(folder.glob("*.npy"))}
    packed = {path.name: [path.stat().st_size, None] for path in sorted(folder.glob("*.blob"))}
    sealed = {**meta, "files": {**arrays, **packed}}
    return {**sealed, "blake2b": _digest_of_meta(sealed)}


def check_sealed(folder: Path, meta: Mapping[str, Any]) -> None:
    """Check what ``seal`` has written. Early versions did not seal: of theirs, whole arrays are summarized again.

    Raises:
        ValueError: a file or ``meta`` has changed.
        OSError: a file cannot be read.
    """
    if "blake2b" not in meta:
        if "splits" not in meta and any(meta[name] != value for name, value in summarize(folder).items()):
            raise ValueError("the arrays differ from their summary")
        return
    if meta["blake2b"] != _digest_of_meta(meta):
        raise ValueError("meta.json differs from its checksum")
    for name, (size_bytes, content) in meta["files"].items():
        path = folder / name
        if path.stat().st_size != size_bytes or content not in (None, digest.of_file(path)):
            raise ValueError(f"{name} differs from its checksum")


def _digest_of_meta(meta: Mapping[str, Any]) -> str:
    return digest.of_text(json.dumps({name: meta[name] for name in sorted(meta) if name != "blake2b"}))


def summarize(folder: Path) -> dict[str, Any]:
    """Digest of all arrays, and mean and standard deviation of the training pixels by channel."""
    mapped = {array: np.load(folder / f"{array}.npy", mmap_mode="r") for array in ARRAYS}
    content = digest.of_parts(np.ascontiguousarray(mapped[array]).data for array in ARRAYS)
    # from a histogram per channel: exact, and without a float copy of the images
    images = mapped["train_images"]
    levels = np.arange(256)
    mean, std = [], []
    for channel in range(images.shape[1]):
        counts = np.zeros(256)
        for first in range(0, len(images), CHUNK):
            counts += np.bincount(images[first : first + CHUNK, channel].ravel(), minlength=256)
        center = (counts * levels).sum() / counts.sum()
        mean.append(float(center))
        std.append(float(np.sqrt((counts * (levels - center) ** 2).sum() / counts.sum())))
    return {"content_blake2b": content, "mean": mean, "std": std}


def write_index(
    folder: Path, name: str, content: Encoded, data_root: Path | None, progress: ProgressCallback
) -> dict[str, Mapping[str, Any]]:
    """Write the index of both splits. Images in Parquet files are also extracted into one flat file per split.

    Reading one image of a Parquet file decompresses its whole row group of some hundred images, so images are extracted
    once. A killed extraction continues where it stopped. DataError if an image is missing or its header tells that it
    cannot be read, or the disk has too little space.

    Returns:
        By split, the JSON values that ``open_split`` needs besides the folder.
    """
    splits = {"train": content.train, "test": content.test}
    check_space(name, folder, sum(part.total_bytes for part in splits.values() if isinstance(part, ParquetPictures)))
    return {split: _write_split(folder, split, name, part, data_root, progress) for split, part in splits.items()}


def _write_split(
    folder: Path, split: str, name: str, pictures: Pictures, data_root: Path | None, progress: ProgressCallback
) -> Mapping[str, Any]:
    np.save(folder / f"{split}_labels.npy", np.asarray(pictures.labels))
    match pictures:
        case FilePictures():
            np.save(folder / f"{split}_names.npy", pictures.names)
            if pictures.entries is not None:
                np.save(folder / f"{split}_entries.npy", pictures.entries)
            # relative if possible, since a copy of the data under another root has the same fingerprint
            inside = data_root is not None and pictures.root.is_relative_to(data_root)
            root = pictures.root.relative_to(data_root) if inside and data_root else pictures.root
            return {"root": str(root), "whole": pictures.whole}
        case ParquetPictures():
            _pack(folder, split, f"{name}: extracting {split} images", pictures, progress)
            return {"files": pictures.origins.files, "starts": pictures.origins.starts}
    raise DataError(f"{name}: got images as {type(pictures).__name__}; return FilePictures or ParquetPictures")


def open_split(folder: Path, split: str, written: Mapping[str, Any], data_root: Path | None) -> Pictures:
    """Map a split's index; DataError if the images' folder is missing."""
    labels = np.load(folder / f"{split}_labels.npy", mmap_mode="r")
    if "files" in written:
        offsets = np.load(folder / f"{split}_offsets.npy", mmap_mode="r")
        origins = Origins(tuple(written["files"]), tuple(written["starts"]))
        return PackedPictures(folder / f"{split}.blob", offsets, labels, origins)
    root = (data_root or Path()) / written["root"]
    if not root.is_dir():
        raise DataError(f"{root} does not exist any more; give the --data-root that holds the data")
    names, entries = np.load(folder / f"{split}_names.npy", mmap_mode="r"), folder / f"{split}_entries.npy"
    if not entries.exists():  # of a plugin, or of an earlier version, whose fingerprint was of names
        return FilePictures(root, names, labels)
    return FilePictures(root, names, labels, np.load(entries, mmap_mode="r"), written["whole"])


def _pack(folder: Path, split: str, task: str, pictures: ParquetPictures, progress: ProgressCallback) -> None:
    blob, lengths = folder / f"{split}.blob", folder / f"{split}.lengths"
    for path in (blob, lengths):
        path.touch()
    with blob.open("r+b") as images, lengths.open("r+b") as sizes:
        for chunk in remaining(folder / f"{split}.done", task, len(pictures), progress):
            images.seek(int(np.fromfile(lengths, dtype=np.int64, count=chunk.start).sum()))
            sizes.seek(8 * chunk.start)
            for index in chunk:
                content = pictures.read(index)
                if fault := header_fault(content, BytesIO(content)):
                    raise DataError(f"{pictures.name(index)}: {fault}")
                images.write(content)
                sizes.write(len(content).to_bytes(8, "little"))
            for file in (images, sizes):
                file.flush()
                os.fsync(file.fileno())
    np.save(folder / f"{split}_offsets.npy", np.concatenate([[0], np.fromfile(lengths, dtype=np.int64).cumsum()]))


def remaining(marker: Path, task: str, total: int, progress: ProgressCallback) -> Iterator[range]:
    """Yield the chunks of images that are not done yet.

    Ask for the next chunk only when the chunk before is safe on disk: ``marker`` then counts its images as done.
    """
    done = int(marker.read_text(encoding="utf-8")) if marker.exists() else 0
    progress(task, done, total)
    while done < total:
        chunk = range(done, min(done + CHUNK, total))
        yield chunk
        done = chunk.stop
        with replacing(marker) as partial:
            partial.write_text(str(done), encoding="utf-8")
        progress(task, done, total)


def check_space(name: str, folder: Path, needed_bytes: int) -> None:
    """Raise DataError if a folder's disk has too little space for ``needed_bytes``, of which some may be written."""
    written = sum(path.stat().st_size for path in folder.iterdir())
    free, missing = shutil.disk_usage(folder).free, needed_bytes - written
    if missing > free:
        raise DataError(
            f"{name}: {missing / 1e9:.1f} GB are needed in {folder.parent} and {free / 1e9:.1f} GB are free; "
            f"give another --data-cache"
        )
