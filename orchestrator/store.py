"""The store: a folder in which every stage has its place, found by key.

    {root}/stages/{kind}/{slug}-{key16}/stage.json            what it computes, from which inputs
                                       /attempts/{n}/         log, checkpoints, failure.json, and out/ until committed
                                       /out/                  the artifacts, moved here when the attempt succeeded
                                       /record.json           the commit, written last by exclusive creation
    {root}/plans/{digest}.json         what sweeps set out to do
    {root}/events.jsonl                what happened, append-only
    {root}/report.html

There is no mutable status: a stage is done if and only if it has a record. Workers write in their own attempt's folder
only, so one that outlives its driver can never touch a committed artifact.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from orchestrator.record import Failure, File, Record, StoredPlan

KEY_DIGITS = 16
NO_HARD_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)


class StoreError(ValueError):
    """A store that cannot be used; the message says what to do."""


class Store:
    """A store on a local or mounted file system. Reading creates nothing."""

    def __init__(self, root: Path | str) -> None:
        if re.match(r"[a-z][a-z0-9+]+:/", str(root)):  # one slash: what a Path makes of two
            raise StoreError(f"{root}: this version keeps stores on a mounted file system; give a folder")
        self.root = Path(root).absolute()
        self._folders: dict[str, Path] = {}
        self._records: dict[str, Record] = {}

    # --- reading -------------------------------------------------------------------------------------------------

    def records(self) -> dict[str, Record]:
        """All committed stages by key; a record, once read, is not read again.

        Raises:
            StoreError: a record is damaged.
        """
        for folder in sorted(self.root.glob("stages/*/*")):
            short = folder.name[-KEY_DIGITS:]
            self._folders[short] = folder
            if short not in self._records and (folder / "record.json").exists():
                self._records[short] = _read_record(folder / "record.json")
        return {record.key: record for record in self._records.values()}

    def record(self, key: str) -> Record | None:
        """The record of one stage, or None while it is not done."""
        short = key[:KEY_DIGITS]
        if short not in self._records:
            folder = self._find(key)
            if folder is None or not (folder / "record.json").exists():
                return None
            self._records[short] = _read_record(folder / "record.json")
        return self._records[short]

    def out(self, key: str) -> Path:
        """Folder of a committed stage's artifacts."""
        folder = self._find(key)
        if folder is None or self.record(key) is None:
            raise StoreError(f"stage {key} is not in {self.root}")
        return folder / "out"

    def check_intact(self, key: str) -> None:
        """Raise StoreError unless every artifact of a committed stage is there with the size its record says."""
        record, out = self.record(key), self.out(key)
        assert record is not None
        for name, file in record.files.items():
            path = out / name
            if not path.exists() or path.stat().st_size != file.size_bytes:
                raise StoreError(f"{path} is missing or cut short; remove {out.parent} and the stage runs anew")

    def failures(self) -> list[Failure]:
        """The last failure of every stage that is not done and whose last attempt failed, oldest first."""
        last = []
        for attempts in self.root.glob("stages/*/*/attempts"):
            if (attempts.parent / "record.json").exists():
                continue
            path = _newest(attempts) / "failure.json"
            if path.exists():
                last.append(Failure.model_validate_json(path.read_bytes()))
        return sorted(last, key=lambda failure: failure.finished_unix_s)

    def plans(self) -> list[StoredPlan]:
        """Every plan that a sweep worked on here, oldest first."""
        plans = [StoredPlan.model_validate_json(p.read_bytes()) for p in self.root.glob("plans/*.json")]
        return sorted(plans, key=lambda plan: plan.started_unix_s)

    def events(self) -> Iterator[dict[str, Any]]:
        """The event log's lines; one that a killed driver tore is left out."""
        path = self.root / "events.jsonl"
        if not path.exists():
            return
        with path.open("rb") as file:
            for line in file:
                with suppress(json.JSONDecodeError):
                    yield json.loads(line)

    # --- writing -------------------------------------------------------------------------------------------------

    def open_for_writing(self) -> FileLock:
        """Create the folder, make sure that it can be written, and hold it against a second driver.

        Returns:
            The held lock; the operating system releases it when this process ends, however it ends.

        Raises:
            StoreError: the folder cannot be written, or another sweep is at work in it.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
            lock = FileLock(self.root / "driver.lock")
            lock.acquire(timeout=0)
        except Timeout as error:
            raise StoreError(f"{self.root}: another sweep is at work in this store; wait for it") from error
        except OSError as error:
            raise StoreError(f"{self.root}: the store cannot be written ({error}); give another --store") from error
        return lock

    def discard_if_unused(self) -> None:
        """Remove the folder again if nothing but this driver's lock was ever written into it."""
        if [path.name for path in self.root.iterdir()] == ["driver.lock"]:
            shutil.rmtree(self.root)

    def write_plan(self, plan: StoredPlan) -> None:
        """Keep a plan; the same stages are kept once, with the time and command of their last sweep."""
        digest = hashlib.blake2b("".join(stage.key for stage in plan.stages).encode(), digest_size=8)
        path = self.root / "plans" / f"{digest.hexdigest()}.json"
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, plan.model_dump_json().encode())

    def append_event(self, event: dict[str, Any]) -> None:
        """Append one line to the event log; after a torn line, on a line of its own."""
        with (self.root / "events.jsonl").open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(json.dumps(event).encode() + b"\n")

    def new_attempt(self, kind: str, name: str, key: str, job: dict[str, Any]) -> Path:
        """A new attempt's folder, ``attempts/{n}``, of a stage whose definition is written beside it."""
        folder = self._find(key)
        if folder is None:
            folder = self.root / "stages" / kind / f"{slug(name)}-{key[:KEY_DIGITS]}"
            self._folders[key[:KEY_DIGITS]] = folder
        attempts = folder / "attempts"
        attempts.mkdir(parents=True, exist_ok=True)
        if not (folder / "stage.json").exists():
            write_atomically(folder / "stage.json", json.dumps(job, indent=1).encode())
        number = 1 + max((int(path.name) for path in attempts.iterdir()), default=0)
        path = attempts / str(number)
        path.mkdir()
        return path

    def fail(self, attempt: Path, failure: Failure) -> None:
        """Keep why an attempt failed."""
        write_atomically(attempt / "failure.json", failure.model_dump_json().encode())

    def commit(self, attempt: Path, record: Record) -> Record:
        """Move an attempt's artifacts into place and write the record: from here on the stage is done.

        Returns:
            The record with its files' sizes and hashes.

        Raises:
            StoreError: the stage has a record already.
        """
        folder = attempt.parent.parent
        if (folder / "record.json").exists():
            raise StoreError(f"{record.name}: its record exists already")
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)  # from a driver that died between the move and the record
        (attempt / "out").rename(out)
        files = {path.name: _file(path) for path in sorted(out.iterdir())}
        for changed in (out, folder):
            _sync_folder(changed)
        record = record.model_copy(update={"files": files})
        write_atomically(folder / "record.json", record.model_dump_json(indent=1).encode(), exclusive=True)
        for leftover in folder.glob("attempts/*/checkpoint"):
            shutil.rmtree(leftover, ignore_errors=True)
        self._records[record.key[:KEY_DIGITS]] = record
        return record

    def _find(self, key: str) -> Path | None:
        """A stage's folder; one that is not known yet is looked for, since another process may have made it."""
        short = key[:KEY_DIGITS]
        if short not in self._folders:
            found = next(self.root.glob(f"stages/*/*-{short}"), None)
            if found is None:
                return None
            self._folders[short] = found
        return self._folders[short]


def write_atomically(path: Path, content: bytes, *, exclusive: bool = False) -> None:
    """Write a file so that a reader sees all of it or none; ``exclusive`` raises FileExistsError if it is there."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    made = Path(file.name)
    made.chmod(0o644)
    try:
        if exclusive:
            _link_or_create(made, path, content)
        else:
            made.replace(path)
    finally:
        made.unlink(missing_ok=True)


def _link_or_create(made: Path, path: Path, content: bytes) -> None:
    """Give a written file its name unless that is taken; a file system without hard links creates it in place."""
    try:
        os.link(made, path)  # never shows a part of the content
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def slug(name: str) -> str:
    """A stage's name as a folder name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _newest(attempts: Path) -> Path:
    return max(attempts.iterdir(), key=lambda path: int(path.name), default=attempts)


def _read_record(path: Path) -> Record:
    try:
        return Record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise StoreError(
            f"{path} is no valid record ({error.error_count()} faults); remove it and the stage runs anew"
        ) from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _file(path: Path) -> File:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
        os.fsync(file.fileno())  # the record that follows must not outlive it in a power cut
    return File(size_bytes=path.stat().st_size, blake2b=digest.hexdigest())
