"""Checks a store's records and plans: that they can be read, lie where they belong, and the bits of records' files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestrator.store import Store
from orchestrator.store.layout import COLLECTED, KEY_DIGITS, RECORD, StageFiles, stage_folder, stage_folders
from orchestrator.store.record import Record
from workers.attempts.workspace import Artifact, artifact
from workers.storage import PARALLEL_REQUESTS, Storage

Kind = Literal["artifact", "record", "place", "copy", "plan"]


@dataclass(frozen=True)
class Fault:
    """Something that is broken.

    Attributes:
        kind: an artifact is not what its record says; a record cannot be read; it lies in another key's folder;
            its whole folder is a copy of another's; or a plan cannot be read.
        key: of the stage; the first digits of it where the record does not tell; empty for a plan.
        folder: of the stage; a plan's own path.
    """

    kind: Kind
    key: str
    name: str
    folder: str
    message: str


@dataclass(frozen=True)
class VerificationReport:
    """What was found.

    Attributes:
        faults: at most one for each folder, and for each plan.
        missing_inputs: by name of the stage, keys that it read and that have no record any more.
        files, size_bytes: how much was hashed.
    """

    faults: list[Fault]
    missing_inputs: dict[str, list[str]]
    records: int
    files: int
    size_bytes: int
    collected: int


def check(store: Store, step: Callable[[int, int], None]) -> VerificationReport:
    """Check a store; changes nothing.

    Args:
        step: told the bytes that were hashed, and that are to be, as it goes.
    """
    faults = _copies(store)
    copied = {fault.key for fault in faults}
    damaged: dict[str, str] = {}
    store.records(damaged, index=False)
    stages, records = store.stages(), {}
    for short, stage in stages.items():
        if short in damaged:
            faults.append(Fault("record", short, stage.folder, stage.folder, damaged[short]))
        elif RECORD in stage.files and short not in copied:
            record = store.record(short)
            assert record is not None
            if record.key[:KEY_DIGITS] != short:
                message = f"{stage.folder}/{RECORD} is of stage {record.key}, which does not belong there"
                faults.append(Fault("place", short, record.name, stage.folder, message))
            else:
                records[short] = record
    wanted = [(short, name) for short, record in records.items() for name in record.files]
    gone = {
        (short, name)
        for short, name in wanted
        if f"{records[short].out}/{name}{COLLECTED}" in stages[short].files
        and f"{records[short].out}/{name}" not in stages[short].files
    }
    files = {
        f"{stages[short].folder}/{records[short].out}/{name}": (short, records[short].files[name])
        for short, name in wanted
        if (short, name) not in gone
    }
    broken: dict[str, str] = {}
    done, total = 0, sum(file.size_bytes for _, file in files.values())
    for path, fault in _hash({path: file for path, (_, file) in files.items()}, store.storage):
        short, file = files[path]
        done += file.size_bytes
        step(done, total)
        if fault is not None:
            broken.setdefault(short, fault)
    for short, message in broken.items():
        record = records.pop(short)
        faults.append(Fault("artifact", record.key, record.name, stages[short].folder, message))
    counted = len(records) + len(faults)
    plans: dict[str, str] = {}
    store.plans(plans)
    faults += [Fault("plan", "", path, path, message) for path, message in plans.items()]
    return VerificationReport(faults, _missing_inputs(records, stages), counted, len(files), total, len(gone))


def quarantine(store: Store, faults: Collection[Fault]) -> None:
    """Set aside what is broken, so that the next sweep makes it anew; nothing is deleted."""
    plans: dict[str, str] = {}
    if any(fault.kind == "plan" for fault in faults):
        store.plans(plans)  # again: a sweep may have written one anew
    for fault in faults:
        if fault.kind == "plan":
            if fault.folder in plans:
                store.storage.move(fault.folder, f"set-aside/{fault.folder}")
        elif fault.kind == "copy":
            for path in store.storage.listing(fault.folder):
                store.storage.move(path, f"set-aside/{path}")
        else:
            store.quarantine(fault.key, fault.kind)


def _copies(store: Store) -> list[Fault]:
    """Folders of one key but the one whose name tells the record's: their files would be taken for each other's."""
    faults = []
    for short, same_key in stage_folders(store.storage.listing("stages")).items():
        folders = [stage.folder for stage in same_key]
        if len(folders) > 1:
            right = next((folder for folder in folders if _belongs(store.storage, folder)), folders[0])
            for folder in sorted({*folders} - {right}):
                message = f"{folder} has the same key as {right}; only when it is away can that be checked"
                faults.append(Fault("copy", short, folder, folder, message))
    return faults


def _belongs(storage: Storage, folder: str) -> bool:
    """Whether a folder is named as its record says."""
    try:
        record = Record.model_validate_json(storage.read(f"{folder}/{RECORD}"))
    except (FileNotFoundError, ValueError):
        return False
    return folder == stage_folder(record.kind, record.name, record.key)


def _hash(files: Mapping[str, Artifact], storage: Storage) -> Iterator[tuple[str, str | None]]:
    """What is wrong with each file, or None, as they are read: several at a time from a bucket."""

    def look(item: tuple[str, Artifact]) -> tuple[str, str | None]:
        path, file = item
        try:
            found = _read(storage, path)
        except FileNotFoundError:
            return path, f"{path} is missing"
        if found != file:
            return path, f"{path} is not what its record says"
        return path, None

    if storage.folder is not None:
        yield from map(look, files.items())
        return
    with ThreadPoolExecutor(PARALLEL_REQUESTS // 4) as threads:
        yield from threads.map(look, files.items())


def _read(storage: Storage, path: str) -> Artifact:
    if storage.folder is not None:
        return artifact(storage.folder / path)
    with tempfile.TemporaryDirectory(prefix="winning-sign-") as scratch:
        storage.download(path, Path(scratch) / "file")
        return artifact(Path(scratch) / "file")


def _missing_inputs(records: Mapping[str, Record], stages: Mapping[str, StageFiles]) -> dict[str, list[str]]:
    return {
        record.name: absent
        for record in records.values()
        if (
            absent := [
                key
                for key in record.inputs.values()
                if key[:KEY_DIGITS] not in stages or RECORD not in stages[key[:KEY_DIGITS]].files
            ]
        )
    }
