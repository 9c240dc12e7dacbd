"""Prepare each data set once per host and size: as arrays, or as an index of encoded images, which all workers map."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tickets.files.home import NoHomeError, user_cache
from tickets.registry import unknown
from workers.data.errors import DataError
from workers.data.fingerprints.content import OF_BYTES, change, take
from workers.data.images.encoded import Encoded, Pictures
from workers.data.preparing import resizing, writing
from workers.data.preparing.checking import check_content
from workers.data.preparing.writing import ARRAYS, ProgressCallback
from workers.data.registry import Arrays, DataSet, Source, SplitSummary, data_set_names, find_data_set, most_frequent
from workers.plugins import fault, owner
from workers.stages import IMAGE_SIZE

IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


@dataclass(frozen=True)
class _Prepared:
    """A prepared data set.

    Attributes:
        mean, std: of the pixels by channel, in units of 0..255: the training images', or ImageNet's if streamed.
        content_blake2b: digest of all arrays or, if streamed, the source's fingerprint, since no pixel is read yet.
        left_out: as in ``Source``, when this host prepared the data set; None if an earlier version prepared it.
        prepared_unix_s: when that was; the files were then as the fingerprint says.
    """

    channels: int
    num_classes: int
    mean: Tensor
    std: Tensor
    content_blake2b: str
    left_out: Mapping[str, int] | None
    prepared_unix_s: float


@dataclass(frozen=True)
class MappedData(_Prepared):
    """A decoded data set. Its tensors are mapped files, which all workers of the host share; see ``Arrays``."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    @property
    def splits(self) -> dict[str, SplitSummary]:
        """Summary of both splits."""
        labels = {"train": self.train_labels, "test": self.test_labels}
        return {split: SplitSummary.of(tensor.numpy()) for split, tensor in labels.items()}


@dataclass(frozen=True)
class StreamedData(_Prepared):
    """A data set whose images are read and decoded each time they are drawn."""

    train: Pictures
    test: Pictures

    @property
    def splits(self) -> dict[str, SplitSummary]:
        """Summary of both splits."""
        return {"train": SplitSummary.of(self.train.labels), "test": SplitSummary.of(self.test.labels)}


def default_cache() -> Path:
    """Default folder of prepared data sets, in the user's cache; DataError if this user has no home folder."""
    try:
        return user_cache()
    except NoHomeError as error:
        raise DataError("there is no home folder for the decoded data; give --data-cache FOLDER") from error


def find_source(
    name: str,
    data_root: Path | None,
    cache: Path,
    progress: ProgressCallback = lambda *_: None,
    *,
    every_byte: bool = False,
) -> Source:
    """Find a data set's content and number of classes, without decoding it.

    Files that were not read before, or changed since, are read for the fingerprint; ``progress`` counts megabytes.

    Args:
        every_byte: read files whole, even if there are many; without, sets of more than 20 GB are read at both ends.

    Raises:
        DataError: the data is missing, unreadable, or changes meanwhile.
    """
    data_set = _known(name)
    try:
        source = data_set.function(data_root, cache / "downloads")
    except OSError as error:
        raise DataError(f"{name}: its files cannot be read: {error}") from error
    except (Exception, SystemExit) as error:
        _blame_plugin(name, data_set, error)
        raise
    if not isinstance(source, Source) or not isinstance(source.fingerprint, str):
        returned = f"a {type(source).__name__}, and no Source with a text as fingerprint"
        raise DataError(f"{name}: {owner(data_set.function)} returns {returned}")
    classes = source.num_classes or data_set.num_classes
    source = replace(source, num_classes=classes, left_out=most_frequent(source.left_out))
    if source.content is None:
        return source
    try:
        found, manifest = take(name, source.content, cache, progress, every_byte=every_byte)
    except OSError as error:
        raise DataError(f"{name}: its files cannot be read: {error}") from error
    return replace(source, fingerprint=found, manifest=manifest)


def fingerprint(name: str, data_root: Path | None, cache: Path) -> str:
    """Fingerprint of a data set's content, without decoding it; DataError if the data is missing."""
    return find_source(name, data_root, cache).fingerprint


def prepared_folder(name: str, expected: str, cache: Path) -> Path:
    """The folder of a prepared data set."""
    return cache / f"{name.replace(':', '-')}-{expected}"


def open_data(
    name: str,
    expected: str,
    data_root: Path | None,
    cache: Path,
    progress: ProgressCallback = lambda *_: None,
    image_size: int = IMAGE_SIZE,
) -> MappedData | StreamedData:
    """Map a data set; prepare it first, under a lock, if this host has not done so.

    Args:
        expected: the fingerprint in the stage's key.
        progress: called from time to time during preparation.
        image_size: side in pixels to which images of one size are averaged; the default keeps theirs. Streamed images
            are cropped to it when they are read.

    Raises:
        DataError: the data is missing or damaged, has another fingerprint, or cannot have this size.
    """
    whole = prepared_folder(name, expected, cache)
    folder = whole if image_size == IMAGE_SIZE else whole.with_name(f"{whole.name}-{image_size}px")
    if (folder / "meta.json").exists():
        return _open_checked(folder, name, data_root)
    if not (whole / "meta.json").exists():
        _prepare(whole, name, expected, data_root, cache, progress)
    data = _open_checked(whole, name, data_root)
    if folder == whole or isinstance(data, StreamedData):
        return data
    meta = {"num_classes": data.num_classes, "left_out": data.left_out}
    arrays = {array: getattr(data, array).numpy() for array in ARRAYS}
    resizing.write_resized(folder, name, arrays, image_size, meta, data.prepared_unix_s, progress)
    return _open_checked(folder, name, data_root)


def _open_checked(folder: Path, name: str, data_root: Path | None) -> MappedData | StreamedData:
    """Map what a preparation has written; DataError if the files are damaged, or the images' folder is missing."""
    try:
        return _open_prepared(folder, name, data_root)
    except DataError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, RuntimeError) as error:
        raise DataError(
            f"{name}: the prepared data in {folder} is damaged ({fault(error)}); remove that folder, and the next run "
            f"prepares the data again"
        ) from error


def _open_prepared(folder: Path, name: str, data_root: Path | None) -> MappedData | StreamedData:
    """Map what a preparation has written; any exception if the files are damaged."""
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    writing.check_sealed(folder, meta)
    data_set = _known(name)
    shared: dict[str, Any] = {
        "channels": data_set.channels,
        "num_classes": meta.get("num_classes", data_set.num_classes),  # early versions did not write it
        "mean": torch.tensor(meta["mean"], dtype=torch.float32),
        "std": torch.tensor(meta["std"], dtype=torch.float32),
        "content_blake2b": meta["content_blake2b"],
        "left_out": meta.get("left_out"),
        "prepared_unix_s": (folder / "meta.json").stat().st_mtime,
    }
    if "splits" in meta:
        train, test = (
            writing.open_split(folder, split, meta["splits"][split], data_root) for split in ("train", "test")
        )
        return StreamedData(train=train, test=test, **shared)
    # mode "c" shares the pages and never writes them, yet torch accepts the array as writable
    arrays: dict[str, Any] = {
        array: torch.from_numpy(np.load(folder / f"{array}.npy", mmap_mode="c")) for array in ARRAYS
    }
    return MappedData(**arrays, **shared)


def _blame_plugin(name: str, data_set: DataSet, error: BaseException) -> None:
    """Raise a DataError that names a plugin's function and what it raised; return for our own, and for a DataError."""
    if not isinstance(error, DataError) and not data_set.function.__module__.startswith("workers."):
        raise DataError(f"{name}: {owner(data_set.function)}: {fault(error)}") from error


def _known(name: str) -> DataSet:
    data_set = find_data_set(name)
    if data_set is None:
        raise DataError(unknown("data set", name, data_set_names(), plugins=True))
    return data_set


def _prepare(
    folder: Path, name: str, expected: str, data_root: Path | None, cache: Path, progress: ProgressCallback
) -> None:
    """Fill a folder under a temporary name and rename it; a killed preparation is continued by the next one."""
    with writing.locked(folder, name) as partial:
        if partial is None:
            return
        source = find_source(name, data_root, cache, progress, every_byte=expected.startswith(OF_BYTES))
        if source.fingerprint != expected:
            changed = change(name, expected, source.fingerprint, cache)
            raise DataError(
                f"{name}: {source.description} differs from the data that the stage was planned for "
                f"({source.fingerprint} instead of {expected}); give the same --data-root, or plan again"
                f"{'; ' if changed else ''}{changed or ''}"
            )
        try:
            content = source.decode()
        except (Exception, SystemExit) as error:
            _blame_plugin(name, _known(name), error)
            raise
        arrays = (getattr(content, array, None) for array in ARRAYS)
        if not isinstance(content, Encoded) and not all(isinstance(array, np.ndarray) for array in arrays):
            what = type(content).__name__
            raise DataError(f"{name}: {owner(_known(name).function)}: decode gives a {what}; give Arrays of NumPy")
        if isinstance(content, Encoded) and source.manifest is not None:
            content = content.guarded(source.manifest)
        check_content(name, content, _known(name).channels, source.num_classes or 0)
        partial.mkdir(exist_ok=True)
        meta = _fill(partial, name, content, source, data_root, progress)
        changed = source.content.changed(source.manifest) if source.content and source.manifest else ""
        if changed:
            shutil.rmtree(partial)
            raise DataError(
                f"{name} changed while it was prepared: {changed}; start again when nothing writes to it any more"
            )
        writing.publish(partial, folder, {**meta, "num_classes": source.num_classes, "left_out": source.left_out})


def _fill(
    partial: Path,
    name: str,
    content: Arrays | Encoded,
    source: Source,
    data_root: Path | None,
    progress: ProgressCallback,
) -> Mapping[str, Any]:
    """Write everything but ``meta.json``, and return the content of that."""
    if isinstance(content, Encoded) and content.size is None:
        splits = writing.write_index(partial, name, content, data_root, progress)
        return {"splits": splits, "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "content_blake2b": source.fingerprint}
    try:
        if isinstance(content, Encoded):
            writing.decode_images(partial, name, content, progress)
        else:
            for array in ARRAYS:
                np.save(partial / f"{array}.npy", np.ascontiguousarray(getattr(content, array)))
    except DataError:
        shutil.rmtree(partial)  # repaired data has another fingerprint, so that no later run would continue here
        raise
    return writing.summarize(partial)
