"""Find the Parquet files of a split by their names, and refuse a split whose files are not exactly one complete set."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from workers.data.errors import DataError

SHARD_OF = re.compile(r"(?P<split>[a-z]+)-(?P<number>\d+)-of-(?P<count>\d+)(-[0-9a-f]+)?")
"""``train-00000-of-00003``, and with the hash that earlier versions of Hugging Face's library append."""
NUMBERED = re.compile(r"(?P<split>[a-z]+)[-_]?(?P<number>\d+)")
NAMES = "{split}.parquet, {split}-00000-of-00002.parquet or {split}/0000.parquet"


class _Set(NamedTuple):
    """Files that belong together: of a split's name, and with how many shards, which plain numbers do not tell."""

    split: str
    style: str
    shards: int | None


class _Place(NamedTuple):
    set_: _Set
    number: int


def parquet_files(folder: Path) -> list[Path]:
    """All Parquet files below a folder, sorted, without those in hidden folders, such as a download's own cache."""
    paths = sorted(folder.rglob("*.parquet"))
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def split_files(folder: Path, names: Sequence[str]) -> list[Path]:
    """The Parquet files of one split, sorted; empty if there is none.

    Args:
        names: what the split may be called.

    Raises:
        DataError: a shard is missing or there twice, there are several sets of files, or a file's name begins with
            the split's and does not tell its place in it.
    """
    sets: dict[_Set, dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in parquet_files(folder):
        place = _place(path, folder, names)
        if place is not None:
            sets[place.set_][place.number].append(path)
        elif path.stem.lower().startswith(tuple(names)) or _below(path, folder) in names:
            raise DataError(
                f"{path}: its name does not tell whether it belongs to the split {names[0]}; name it "
                f"{NAMES.format(split=names[0])}, or move it out of {folder}"
            )
    if len(sets) > 1:
        first, second = (min(path for paths in set_.values() for path in paths) for set_ in list(sets.values())[:2])
        raise DataError(f"{first} and {second} are of different sets of files for one split; keep one set")
    for set_, paths_of in sets.items():
        _check_complete(folder, set_, paths_of)
    return sorted(path for paths_of in sets.values() for paths in paths_of.values() for path in paths)


def _below(path: Path, folder: Path) -> str:
    """Name of the file's own folder, or nothing if that is ``folder``."""
    return path.parent.name if path.parent != folder else ""


def _place(path: Path, folder: Path, names: Sequence[str]) -> _Place | None:
    """A file's place in a split; None if its name tells none."""
    stem, below = path.stem, _below(path, folder)
    if stem in names:
        return _Place(_Set(stem, "whole", 1), 0)
    if stem.isdecimal() and below in names:
        return _Place(_Set(below, "numbered in its folder", None), int(stem))
    for pattern in (SHARD_OF, NUMBERED):
        shard = pattern.fullmatch(stem)
        if shard and shard["split"] in names:
            count = int(shard["count"]) if pattern is SHARD_OF else None
            return _Place(_Set(shard["split"], "numbered", count), int(shard["number"]))
    return None


def _check_complete(folder: Path, set_: _Set, paths_of: dict[int, list[Path]]) -> None:
    """DataError unless each number from 0 on, or from 1 on, is there once."""
    example = min(path for paths in paths_of.values() for path in paths)
    for paths in paths_of.values():
        if len(paths) > 1:
            raise DataError(f"{paths[0]} and {paths[1]} are the same part of the split {set_.split}; keep one")
    numbers = set(paths_of)
    first = 1 if 0 not in numbers and 1 in numbers and (set_.shards is None or set_.shards in numbers) else 0
    expected = set(range(first, first + (max(numbers) + 1 - first if set_.shards is None else set_.shards)))
    beyond = sorted(numbers - expected)
    if beyond:
        path = paths_of[beyond[0]][0]
        raise DataError(f"{path}: its number lies outside the {set_.shards} shards that its name tells; remove it")
    missing = sorted(expected - numbers)
    if missing:
        absent = ", ".join(_renumbered(example.stem, number) for number in missing[:3])
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DataError(
            f"{folder}: {absent}{more} {'is' if len(missing) == 1 else 'are'} missing: {len(numbers)} of "
            f"{len(expected)} files of the split {set_.split} are there, such as {example.name}; complete the download"
        )


def _renumbered(stem: str, number: int) -> str:
    """The name of another shard: its hash is not known, so only the part before it is given."""
    shard = SHARD_OF.fullmatch(stem)
    if shard:
        return f"{shard['split']}-{number:0{len(shard['number'])}d}-of-{shard['count']}"
    digits = re.search(r"\d+$", stem)
    assert digits is not None
    return f"{stem[: digits.start()]}{number:0{len(digits[0])}d}.parquet"
