"""Verifies a store: records and plans can be read, records lie in their own folders, and artifacts hash as recorded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from orchestrator.store import Store
from orchestrator.store.layout import COLLECTED, KEY_DIGITS, QUARANTINE, RECORD, stage_folder, stage_folders
from orchestrator.store.leases import Lease
from orchestrator.store.record import Claim, Failure, Record, read_valid
from orchestrator.store.values import Progress
from tickets.errors import TicketError
from tickets.files.columns import read_columns
from tickets.files.tables import read_rows
from workers.attempts.workspace import Artifact, is_intact
from workers.storage import PARALLEL_REQUESTS, Folder, Storage, UnreadableFileError
from workers.storage.schemas import OPTIONAL_COLUMNS, SCHEMAS, TICKET

SMALL_FILES: Mapping[str, type[BaseModel]] = {
    "claim.json": Claim,
    "failure.json": Failure,
    "progress.json": Progress,
    "lease.json": Lease,
}
"""What lies beside the records, by the file's name."""
Kind = Literal["artifact", "record", "copy", "plan", "irregular"]


@dataclass(frozen=True)
class Fault:
    """A broken file or folder.

    Attributes:
        kind: "artifact": not what its record says, or no table that can be read; "record": cannot be read, or lies in
            another key's folder; "plan": cannot be read; "copy": a whole folder that is a copy of another one;
            "irregular": no file of a store, such as a named pipe, a link that leads out, or a lease that cannot be
            read.
        key: of the stage; its first digits if the record does not tell; empty for a plan and what is irregular.
        folder: of the stage; the own path of a plan and of what is irregular.
    """

    kind: Kind
    key: str
    name: str
    folder: str
    message: str


@dataclass(frozen=True)
class VerificationReport:
    """The result of a verification.

    Attributes:
        faults: at most one per folder, one per plan, and one per irregular path.
        missing_inputs: by name of the stage, the keys of inputs that have no record any more.
        records: number of records, broken ones included.
        files: number of hashed files, of ``size_bytes`` together.
        collected: number of files that ``orchestrator.gc`` removed.
    """

    faults: list[Fault]
    missing_inputs: dict[str, list[str]]
    records: int
    files: int
    size_bytes: int
    collected: int


def check(store: Store, step: Callable[[int, int], None]) -> VerificationReport:
    """Verify a store; changes nothing.

    Args:
        step: called after each file with the bytes hashed so far, and with all bytes.
    """
    faults = _copies(store)
    records = _readable_records(store, faults)
    stages = store.stages(relist=False)
    artifacts: dict[str, tuple[str, Artifact]] = {}
    collected = 0
    for short, record in records.items():
        for name, file in record.files.items():
            path = f"{record.out}/{name}"
            if path not in stages[short].files and f"{path}{COLLECTED}" in stages[short].files:
                collected += 1
            else:
                artifacts[f"{stages[short].folder}/{path}"] = short, file
    broken: dict[str, str] = {}
    hashed_bytes, total_bytes = 0, sum(file.size_bytes for _, file in artifacts.values())
    for path, message in _hash({path: file for path, (_, file) in artifacts.items()}, store.storage):
        short, file = artifacts[path]
        hashed_bytes += file.size_bytes
        step(hashed_bytes, total_bytes)
        if message is not None:
            broken.setdefault(short, message)
    for short, message in broken.items():
        record = records.pop(short)
        faults.append(Fault("artifact", record.key, record.name, stages[short].folder, message))
    record_count = len(records) + len(faults)
    damaged_plans: dict[str, str] = {}
    store.plans(damaged_plans)
    faults += [Fault("plan", "", path, path, message) for path, message in damaged_plans.items()]
    reported = {path for fault in faults for path in (fault.folder, f"{fault.folder}/{RECORD}")}
    irregular = _invalid(store) | {path: f"{path} {why}" for path, why in store.storage.irregular().items()}
    faults += [
        Fault("irregular", "", path, path, message)
        for path, message in irregular.items()
        if path not in reported and not path.startswith(QUARANTINE)
    ]
    done = {short for short, stage in stages.items() if stage.done}
    missing_inputs = {
        record.name: missing
        for record in records.values()
        if (missing := [key for key in record.inputs.values() if key[:KEY_DIGITS] not in done])
    }
    return VerificationReport(faults, missing_inputs, record_count, len(artifacts), total_bytes, collected)


def quarantine(store: Store, faults: Collection[Fault]) -> None:
    """Move broken files away, so that the next sweep computes their stages again; deletes nothing."""
    damaged_plans: dict[str, str] = {}
    if any(fault.kind == "plan" for fault in faults):
        store.plans(damaged_plans)  # read again: a sweep may have replaced one
    for fault in faults:
        if fault.kind == "plan":
            if fault.folder in damaged_plans:
                store.storage.move(fault.folder, f"{QUARANTINE}{fault.folder}")
        elif fault.kind == "irregular":
            with suppress(FileNotFoundError):  # a name that is not UTF-8 has no path here
                store.storage.move(fault.folder, f"{QUARANTINE}{fault.folder}")
        elif fault.kind == "copy":
            for path in store.storage.listing(fault.folder):
                store.storage.move(path, f"{QUARANTINE}{path}")
        else:
            store.quarantine(fault.key, fault.kind)


def _readable_records(store: Store, faults: list[Fault]) -> dict[str, Record]:
    """Read all records by the first digits of their keys; append a fault for each that is damaged or misplaced."""
    copied = {fault.key for fault in faults}
    damaged: dict[str, str] = {}
    store.records(damaged, index=False)
    records = {}
    for short, stage in store.stages().items():
        if short in damaged:
            faults.append(Fault("record", short, stage.folder, stage.folder, damaged[short]))
        elif stage.done and short not in copied:
            records[short] = store.committed(short)
    return records


def _copies(store: Store) -> list[Fault]:
    """Find all folders of a key but the one that its record names: their files could be mistaken for each other."""
    faults = []
    for short, same_key in stage_folders(store.storage.listing("stages")).items():
        folders = [stage.folder for stage in same_key]
        if len(folders) > 1:
            records = read_valid(Record, store.storage, [stage.record for stage in same_key])
            places = {path: stage_folder(record.kind, record.name, record.key) for path, record in records.items()}
            original = next((place for path, place in places.items() if path == f"{place}/{RECORD}"), folders[0])
            for folder in sorted({*folders} - {original}):
                message = f"{folder} has the same key as {original}, which can be checked only when the copy is away"
                faults.append(Fault("copy", short, folder, folder, message))
    return faults


def _invalid(store: Store) -> dict[str, str]:
    """A sentence for each small file beside the records that cannot be used, by its path."""
    invalid: dict[str, str] = {}
    listing = [path for path in store.storage.listing() if not path.startswith(QUARANTINE)]
    for name, model in SMALL_FILES.items():
        read_valid(model, store.storage, [path for path in listing if path.endswith(f"/{name}")], invalid)
    return invalid


def _hash(files: Mapping[str, Artifact], storage: Storage) -> Iterator[tuple[str, str | None]]:
    """Yield each path with a sentence if the file is broken, else None; a bucket's are read several at a time."""

    def inspect(item: tuple[str, Artifact]) -> tuple[str, str | None]:
        path, file = item
        try:
            with _as_local_file(storage, path) as local:
                if not is_intact(local, file):
                    return path, f"{path} differs from its record"
                _check_table(local)
        except FileNotFoundError:
            return path, f"{path} is missing"
        except (UnreadableFileError, TicketError) as error:
            return path, f"{path} cannot be used: {error}"
        return path, None

    if storage.folder is not None:
        yield from map(inspect, files.items())
        return
    with ThreadPoolExecutor(PARALLEL_REQUESTS // 4) as threads:
        yield from threads.map(inspect, files.items())


@contextmanager
def _as_local_file(storage: Storage, path: str) -> Iterator[Path]:
    if storage.folder is not None:
        yield Folder(storage.folder).locate(path)
        return
    with tempfile.TemporaryDirectory(prefix="winning-sign-") as scratch:
        local = Path(scratch) / path.rpartition("/")[2]  # its name says what it holds
        storage.download(path, local)
        yield local


def _check_table(path: Path) -> None:
    """Read a table as the report does; raise UnreadableFileError or TicketError if it cannot be used."""
    if path.name == TICKET:
        read_columns(path)
    elif path.name in SCHEMAS:
        read_rows(path, SCHEMAS[path.name], OPTIONAL_COLUMNS)
