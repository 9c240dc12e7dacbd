"""Write and open the index of a streamed split, so that workers open a million images at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from workers.data.errors import DataError
from workers.data.images.encoded import Encoded, FilePictures, Origins, PackedPictures, Pictures
from workers.data.images.parquet import ParquetPictures
from workers.data.preparing.resumption import ProgressCallback, check_space, remaining


def write_index(
    folder: Path, name: str, content: Encoded, data_root: Path | None, progress: ProgressCallback
) -> dict[str, Mapping[str, Any]]:
    """Write the index of both splits. Images in Parquet files are also extracted into one flat file per split.

    Reading one image of a Parquet file decompresses its whole row group of some hundred images, so images are extracted
    once. A killed extraction continues where it stopped.

    Returns:
        By split, the JSON values that ``open_split`` needs besides the folder.

    Raises:
        DataError: the disk has too little space, or the images cannot be read.
    """
    splits = {"train": content.train, "test": content.test}
    check_space(name, folder, sum(part.total_bytes for part in splits.values() if isinstance(part, ParquetPictures)))
    return {split: _write(folder, split, name, part, data_root, progress) for split, part in splits.items()}


def _write(
    folder: Path, split: str, name: str, pictures: Pictures, data_root: Path | None, progress: ProgressCallback
) -> Mapping[str, Any]:
    np.save(folder / f"{split}_labels.npy", np.asarray(pictures.labels))
    match pictures:
        case FilePictures():
            np.save(folder / f"{split}_names.npy", pictures.names)
            # relative if possible, since a copy of the data under another root has the same fingerprint
            inside = data_root is not None and pictures.root.is_relative_to(data_root)
            return {"root": str(pictures.root.relative_to(data_root) if inside and data_root else pictures.root)}
        case ParquetPictures():
            _pack(folder, split, f"{name}: extracting {split} images", pictures, progress)
            return {"files": pictures.origins.files, "starts": pictures.origins.starts}
    raise DataError(f"{name}: got images as {type(pictures).__name__}; return FilePictures or ParquetPictures")


def open_split(folder: Path, split: str, written: Mapping[str, Any], data_root: Path | None) -> Pictures:
    """Map a split's index.

    Raises:
        DataError: the images' folder is missing.
    """
    labels = np.load(folder / f"{split}_labels.npy", mmap_mode="r")
    if "files" in written:
        offsets = np.load(folder / f"{split}_offsets.npy", mmap_mode="r")
        origins = Origins(tuple(written["files"]), tuple(written["starts"]))
        return PackedPictures(folder / f"{split}.blob", offsets, labels, origins)
    root = (data_root or Path()) / written["root"]
    if not root.is_dir():
        raise DataError(f"{root} does not exist any more; give the --data-root that holds the data")
    return FilePictures(root, np.load(folder / f"{split}_names.npy", mmap_mode="r"), labels)


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
                images.write(content)
                sizes.write(len(content).to_bytes(8, "little"))
            for file in (images, sizes):
                file.flush()
                os.fsync(file.fileno())
    np.save(folder / f"{split}_offsets.npy", np.concatenate([[0], np.fromfile(lengths, dtype=np.int64).cumsum()]))
