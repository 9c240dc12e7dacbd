"""Say why a data set's files are not found: what is expected where, or what lies there instead."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from workers.data.errors import DataError
from workers.data.sets.class_folders import folder_names
from workers.data.sets.shards import NAMES, parquet_files

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def missing_data(name: str, folder: str, layout: str, data_root: Path | None, archives: Sequence[str]) -> DataError:
    """The error for data that is not found and cannot be downloaded: what is expected, or what lies there instead.

    Args:
        folder: name of the data set's folder.
        archives: how names of files begin that hold the data set packed.
    """
    where = f"{data_root} does not hold it" if data_root else "no --data-root is given"
    expected = DataError(f"{name} cannot be downloaded, and {where}; expected there: {layout}")
    return near_miss(folder, data_root, archives) or expected


def near_miss(folder: str, data_root: Path | None, archives: Sequence[str]) -> DataError | None:
    """The error for a folder whose name differs in case or punctuation, or for data that is still packed."""
    if data_root is None or not data_root.is_dir():
        return None
    for other in folder_names(data_root):
        if other != folder and _letters(other) == _letters(folder):
            return DataError(f"{data_root / other}: this folder's name has to be exactly {folder}; rename it")
    if (data_root / folder).is_dir() and (error := unread_format(data_root / folder)):
        return error
    for place in (data_root, data_root / folder):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.name.startswith(tuple(archives)) and path.name.endswith(ARCHIVES):
                return DataError(f"{path} is not unpacked; unpack it in {place}")
    return None


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def unread_format(folder: Path) -> DataError | None:
    """The error for a folder with images in Arrow files, or in Parquet files of other names than a split's."""
    arrow = next((path for path in sorted(folder.rglob("*.arrow"))), None)
    if arrow is not None:
        return DataError(
            f"{arrow} is an Arrow file, as save_to_disk writes it, and only Parquet is read; convert it with "
            f"datasets.load_from_disk('{folder}')['train'].to_parquet('{folder / 'train.parquet'}'), and so each split"
        )
    parquet = parquet_files(folder)
    if parquet:
        return DataError(
            f"{os.fspath(parquet[0])}: its name does not tell its split; expected {NAMES.format(split='train')}, and "
            f"the same for the test split"
        )
    return None
