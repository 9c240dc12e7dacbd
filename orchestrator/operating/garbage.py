"""What of a store may be removed, and what a removal leads to. Pure: works on listings and plans, removes nothing.

An artifact that was removed leaves an empty file ``{name}.collected`` in its place. Its stage stays done, and whoever
lists the store sees, without reading anything, that the stage can no longer be an input: a sweep that needs it as one
makes it anew (``to_recompute``), with the same bits, because it has the same key.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.store.layout import COLLECTED, RECORD, StageFiles
from orchestrator.store.record import Record
from workers.storage import Entry


class Category(StrEnum):
    """What a file is to whoever decides whether it may go."""

    CHECKPOINT = "checkpoints of finished stages"
    UNWANTED = "checkpoints of unfinished stages that no plan wants"
    REPLACED = "artifacts of attempts that do not count"
    SET_ASIDE = "records that were set aside"
    WEIGHTS = "weights that no planned stage needs"
    DRIVERS = "folders of drivers that are gone"


@dataclass(frozen=True)
class Garbage:
    """A file that may go.

    Attributes:
        artifact: whether a record names it, so that it has to leave a ``.collected`` in its place.
    """

    path: str
    size_bytes: int
    category: Category
    artifact: bool = False


def to_recompute(inputs: Mapping[str, Iterable[str]], lacking: Iterable[str], collected: Container[str]) -> set[str]:
    """Done stages that must be made again before those that are lacking can be: their files were collected.

    Args:
        inputs: keys of what each planned stage reads.
        lacking: planned stages that are not done.
        collected: done stages that cannot be read.
    """
    again: set[str] = set()
    pending = list(lacking)
    while pending:
        for upstream in inputs.get(pending.pop(), ()):
            if upstream in collected and upstream not in again:
                again.add(upstream)
                pending.append(upstream)
    return again


def garbage(
    stages: Mapping[str, StageFiles],
    records: Mapping[str, Record],
    inputs: Mapping[str, Collection[str]],
    others: Mapping[str, Entry],
    drivers: Container[str],
    *,
    keep_weights: bool,
) -> list[Garbage]:
    """Everything that may go.

    Args:
        stages: all stages' files, by the first digits of their keys.
        records: the valid records, likewise. A stage whose record is damaged is left alone.
        inputs: by the first digits of the keys, what the planned stages read.
        others: the store's files outside of ``stages/``.
        drivers: those with a lease.
        keep_weights: whether all weights that records name stay.
    """
    needed = {upstream for short, read in inputs.items() if short not in records for upstream in read}
    found = []
    for short, stage in stages.items():
        if RECORD in stage.files and short not in records:
            continue
        record = records.get(short)
        for path, entry in stage.files.items():
            category = _category(path, record, wanted=short in inputs, needed=short in needed or keep_weights)
            if category is not None:
                artifact = category is Category.WEIGHTS
                found.append(Garbage(f"{stage.folder}/{path}", entry.size_bytes, category, artifact))
    for path, entry in others.items():
        top, _, rest = path.partition("/")
        if top == "set-aside":
            found.append(Garbage(path, entry.size_bytes, Category.SET_ASIDE))
        elif top == "drivers" and rest.partition("/")[0] not in drivers:
            found.append(Garbage(path, entry.size_bytes, Category.DRIVERS))
    return found


def _category(path: str, record: Record | None, *, wanted: bool, needed: bool) -> Category | None:
    """What a stage's file is, if it may go; ``path`` is relative to the stage's folder."""
    if path.startswith("set-aside/"):
        return Category.SET_ASIDE
    if "/checkpoint/" in path:
        if record is not None:
            return Category.CHECKPOINT
        return None if wanted else Category.UNWANTED
    folder, _, name = path.rpartition("/")
    if record is not None and folder == record.out:
        weights = name in record.files and name.endswith(".safetensors")
        return Category.WEIGHTS if weights and not needed else None
    if folder.endswith("/out") or folder == "out":
        return Category.REPLACED
    return None


def tombstone(path: str) -> str:
    """What stands in the place of an artifact that was removed."""
    return path + COLLECTED
