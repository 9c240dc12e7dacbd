"""Which files of a store may be removed, and what a removal leads to. Pure: removes nothing.

A removed artifact is replaced by an empty file, ``{name}.collected``. Its stage stays done, and a listing alone shows
that the stage can no longer be an input: a sweep that needs the input computes the stage again (``to_recompute``), to
the same bits, because its key is the same.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.store.layout import QUARANTINE, StageFiles
from orchestrator.store.provenance import IMPORTED
from orchestrator.store.record import Record
from workers.storage import Entry


class Category(StrEnum):
    """Why a file may be removed."""

    CHECKPOINT = "checkpoints of finished stages"
    UNWANTED = "checkpoints of unfinished stages that no plan wants"
    REPLACED = "artifacts of attempts that do not count"
    SET_ASIDE = "records that were set aside"
    WEIGHTS = "weights that no planned stage needs"
    DRIVERS = "folders of drivers that are gone"


@dataclass(frozen=True)
class Garbage:
    """A file that may be removed."""

    path: str
    size_bytes: int
    category: Category

    @property
    def artifact(self) -> bool:
        """Whether a record names the file, so that a ``.collected`` must replace it."""
        return self.category is Category.WEIGHTS


def to_recompute(inputs: Mapping[str, Iterable[str]], lacking: Iterable[str], collected: Container[str]) -> set[str]:
    """Find the done stages that must be computed again first, because lacking stages need their collected files.

    Args:
        inputs: keys of each planned stage's inputs, by its key.
        lacking: planned stages that are not done.
        collected: done stages that lost files, and so cannot be inputs.
    """
    needed: set[str] = set()
    pending = list(lacking)
    while pending:
        for upstream in inputs.get(pending.pop(), ()):
            if upstream in collected and upstream not in needed:
                needed.add(upstream)
                pending.append(upstream)
    return needed


def garbage(
    stages: Mapping[str, StageFiles],
    records: Mapping[str, Record],
    inputs: Mapping[str, Collection[str]],
    other_files: Mapping[str, Entry],
    drivers: Container[str],
    *,
    keep_weights: bool,
) -> list[Garbage]:
    """List every file that may be removed. Keys are given by their first digits.

    Args:
        stages: all stages' files, by key.
        records: the valid records, by key. A stage whose record is damaged is left alone.
        inputs: inputs of every planned stage, by key.
        other_files: the store's files outside of ``stages/``.
        drivers: drivers with a lease.
        keep_weights: keep all weights that records name.
    """
    needed = {upstream for short, upstreams in inputs.items() if short not in records for upstream in upstreams}
    removable = []
    for short, stage in stages.items():
        if stage.done and short not in records:
            continue
        record = records.get(short)
        for path, entry in stage.files.items():
            category = _category(path, record, wanted=short in inputs, needed=short in needed or keep_weights)
            if category is not None:
                removable.append(Garbage(f"{stage.folder}/{path}", entry.size_bytes, category))
    for path, entry in other_files.items():
        top, _, rest = path.partition("/")
        if f"{top}/" == QUARANTINE:
            removable.append(Garbage(path, entry.size_bytes, Category.SET_ASIDE))
        elif top == "drivers" and rest.partition("/")[0] not in drivers:
            removable.append(Garbage(path, entry.size_bytes, Category.DRIVERS))
    return removable


def _category(path: str, record: Record | None, *, wanted: bool, needed: bool) -> Category | None:
    """Why a stage's file may be removed; None if it must stay. ``path`` is relative to the stage's folder."""
    if path.startswith(QUARANTINE):
        return Category.SET_ASIDE
    if "/checkpoint/" in path:
        if record is not None:
            return Category.CHECKPOINT
        return None if wanted else Category.UNWANTED
    folder, _, name = path.rpartition("/")
    if record is not None and folder == record.out:
        # a ticket from elsewhere cannot be computed again
        weights = name in record.files and name.endswith(".safetensors") and record.kind != IMPORTED
        return Category.WEIGHTS if weights and not needed else None
    if folder.endswith("/out") or folder == "out":
        return Category.REPLACED
    return None
