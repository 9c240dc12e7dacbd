"""The store: a folder or a bucket in which every stage has its place, found by key.

    {root}/stages/{kind}/{slug}-{key16}/stage.json                what it computes, from which inputs
                                       /attempts/{n}/claim.json   whose attempt this is, by exclusive creation
                                                    /log.txt, progress.json, checkpoint/, failure.json
                                                    /out/         the artifacts
                                       /record.json               the commit: names the attempt whose artifacts count;
                                                                  written last, by exclusive creation
    {root}/plans/{digest}.json         what sweeps set out to do
    {root}/drivers/, events/           who is at work, and what happened: see leases.py and events.py
    {root}/index.jsonl                 copies of the records, to read them at once; nothing is lost with it
    {root}/report.html

There is no mutable status: a stage is done if and only if it has a record. Workers write in their own attempt's folder
only, and a record is created once: a worker or driver that was given up and lives on can never change a result.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.store.errors import StoreError
from orchestrator.store.index import read_index, write_index
from orchestrator.store.layout import COLLECTED, KEY_DIGITS, RECORD, StageFiles, group_stages, slug, stage_folder
from orchestrator.store.record import Claim, Failure, Record, StoredPlan
from orchestrator.store.retrying import RetryingStorage
from tickets.files import digest
from workers.storage import Entry, Storage, download_many, open_storage, read_many


class Store:
    """A store; reading creates nothing.

    Args:
        root: a folder, or the URL of a bucket's folder.
    """

    def __init__(self, root: Path | str) -> None:
        try:
            self.storage: Storage = open_storage(root)
        except OSError as error:
            raise StoreError(str(error)) from error
        self.root = self.storage.root
        self._stages: dict[str, StageFiles] = {}
        self._records: dict[str, Record] = {}
        self._indexed: set[str] = set()

    def retry_failures(self, tell: Callable[[str], None]) -> None:
        """From now on repeat storage calls that fail for a while; ``tell`` is called when an outage begins."""
        if isinstance(self.storage, RetryingStorage):
            self.storage.tell = tell
        else:
            self.storage = RetryingStorage(self.storage, tell)

    # --- reading -------------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether there is anything at the root."""
        return self.storage.exists()

    def records(self, damaged: dict[str, str] | None = None, *, index: bool = True) -> dict[str, Record]:
        """All committed stages by key, by one listing; a record, once read, is not read again.

        Args:
            damaged: if given, what is wrong with each damaged record is put here by the first digits of its key.
            index: whether copies in the index will do for records whose files have not changed since.

        Raises:
            StoreError: a record is damaged, and ``damaged`` was not given.
        """
        self._list()
        paths = {
            short: f"{stage.folder}/{RECORD}"
            for short, stage in self._stages.items()
            if RECORD in stage.files and short not in self._records
        }
        if paths and index:
            versions = {path: self._stages[short].files[RECORD].version for short, path in paths.items()}
            copies = read_index(self.storage, versions)
            indexed = {short: copies[path] for short, path in paths.items() if path in copies}
            self._records |= indexed
            self._indexed |= indexed.keys()
        unread = {short: path for short, path in paths.items() if short not in self._records}
        for (short, path), content in zip(unread.items(), self._read([*unread.values()]), strict=True):
            if content is None:  # removed meanwhile
                continue
            try:
                self._records[short] = _parse_record(f"{self.root}/{path}", content)
            except StoreError as error:
                if damaged is None:
                    raise
                damaged[short] = str(error)
        return {record.key: record for record in self._records.values()}

    def record(self, key: str, *, anew: bool = False) -> Record | None:
        """The record of one stage, or None while it is not done; read again if ``anew``."""
        short = key[:KEY_DIGITS]
        if anew:
            self._forget(key)
        if short not in self._records:
            stage = self._stages.get(short) or self.look(key)
            if stage is None or RECORD not in stage.files:
                return None
            path = f"{stage.folder}/{RECORD}"
            try:
                content = self.storage.read(path)
            except FileNotFoundError:  # quarantined since the listing
                return None
            self._records[short] = _parse_record(f"{self.root}/{path}", content)
        return self._records[short]

    def stage(self, key: str) -> StageFiles | None:
        """A stage's files as last listed; None if it has none."""
        return self._stages.get(key[:KEY_DIGITS])

    def stages(self, *, anew: bool = True) -> dict[str, StageFiles]:
        """All stages' files by the first digits of their keys, listed now, or as they were listed last."""
        if anew:
            self._list()
        return dict(self._stages)

    def look(self, key: str) -> StageFiles | None:
        """List one stage's files anew."""
        stage = self.stage(key)
        if stage is None:
            self._list()
            return self.stage(key)
        listed = self.storage.listing(stage.folder)
        stage.files = {path[len(stage.folder) + 1 :]: entry for path, entry in listed.items()}
        return stage

    def folder(self, key: str) -> str:
        """Folder of a stage, relative to the root."""
        stage = self.stage(key) or self.look(key)
        if stage is None:
            raise StoreError(f"stage {key} is not in {self.root}")
        return stage.folder

    def out(self, key: str) -> str:
        """Folder of a committed stage's artifacts, relative to the root."""
        record = self.record(key)
        if record is None:
            raise StoreError(f"stage {key} is not in {self.root}")
        return f"{self.folder(key)}/{record.out}"

    def local(self, files: Collection[tuple[str, str]], cache: Path | None = None) -> dict[tuple[str, str], Path]:
        """Artifacts as files of this machine: those of a bucket are copied, all at once, unless they were before.

        Args:
            files: (key, name) of each.
            cache: where copies are kept; by default the user's cache.

        Raises:
            StoreError: one is missing.
        """
        if self.storage.folder is not None:
            return {(key, name): self.storage.folder / self.out(key) / name for key, name in files}
        cache = (cache or user_cache()) / digest.of_text(self.root)[:KEY_DIGITS]
        found = {(key, name): cache / self.out(key) / name for key, name in files}
        wanted = [(f"{self.out(key)}/{name}", path) for (key, name), path in found.items() if not path.exists()]
        try:
            download_many(self.storage, wanted)
        except OSError as error:
            raise StoreError(f"{self.root}: {error}") from error
        return found

    def damage(self, key: str) -> str | None:
        """What is wrong with a committed stage's files, as far as their sizes tell; None if nothing is."""
        record, stage = self.record(key), self.stage(key)
        assert record is not None
        assert stage is not None
        for name, file in record.files.items():
            entry = stage.files.get(f"{record.out}/{name}")
            if entry is None and f"{record.out}/{name}{COLLECTED}" in stage.files:
                continue
            if entry is None or entry.size_bytes != file.size_bytes:
                return f"{self.root}/{stage.folder}/{record.out}/{name} is missing or cut short"
        return None

    def collected(self) -> set[str]:
        """Keys of the committed stages that ``orchestrator.gc`` took files from: done, but no longer to be read."""
        shorts = {
            short
            for short, stage in self._stages.items()
            if RECORD in stage.files and any(path.endswith(COLLECTED) for path in stage.files)
        }
        return {
            record.key
            for short, record in self._records.items()
            if short in shorts
            and any(f"{record.out}/{name}{COLLECTED}" in self._stages[short].files for name in record.files)
        }

    def failures(self) -> list[Failure]:
        """The last failure of every stage that is not done and whose last attempt failed, oldest first."""
        self._list()
        paths = []
        for stage in self._stages.values():
            if RECORD not in stage.files and stage.attempts:
                path = f"attempts/{stage.attempts[-1]}/failure.json"
                if path in stage.files:
                    paths.append(f"{stage.folder}/{path}")
        last = []
        for content in self._read(paths):
            with suppress(ValidationError):  # a torn one says nothing: the attempt did not end well either way
                last.append(Failure.model_validate_json(content or b""))
        return sorted(last, key=lambda failure: failure.finished_unix_s)

    def plans(
        self, damaged: dict[str, str] | None = None, listing: Mapping[str, Entry] | None = None
    ) -> list[StoredPlan]:
        """Every plan that a sweep worked on here, oldest first; damaged ones are left out.

        Args:
            damaged: if given, what is wrong with each damaged plan is put here by its path.
            listing: the store's files, if they were listed already.
        """
        paths = sorted(
            path
            for path in (self.storage.listing("plans") if listing is None else listing)
            if path.startswith("plans/")
        )
        plans = []
        for path, content in zip(paths, self._read(paths), strict=True):
            if content is None:  # removed meanwhile
                continue
            try:
                plans.append(_parse_plan(f"{self.root}/{path}", content))
            except StoreError as error:
                if damaged is not None:
                    damaged[path] = str(error)
        return sorted(plans, key=lambda plan: plan.started_unix_s)

    # --- writing -------------------------------------------------------------------------------------------------

    def open_for_writing(self) -> None:
        """Make sure that the store can be written, or raise StoreError."""
        try:
            if self.storage.folder is not None:
                self.storage.folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=self.storage.folder):
                    pass
            else:
                self.storage.write("writable", b"")
                self.storage.remove(["writable"])
        except OSError as error:
            raise StoreError(f"{self.root}: the store cannot be written ({error}); give another --store") from error

    def discard_if_unused(self) -> None:
        """Remove the folder again if nothing was ever written into it."""
        if self.storage.folder is not None and not self.storage.listing():
            shutil.rmtree(self.storage.folder)

    def write_plan(self, plan: StoredPlan) -> None:
        """Keep a plan; the same stages are kept once, with the time and command of their last sweep."""
        name = digest.of_text("".join(stage.key for stage in plan.stages))[:KEY_DIGITS]
        self.storage.write(f"plans/{name}.json", plan.sealed().model_dump_json().encode())

    def write_index(self) -> None:
        """Keep copies of all records in one file for the next reader, unless that has them all."""
        if self._records.keys() <= self._indexed:
            return
        stages = {short: self._stages[short] for short in self._records}
        copies = [
            (f"{stage.folder}/{RECORD}", stage.files[RECORD].version, self._records[short])
            for short, stage in stages.items()
            if RECORD in stage.files
        ]
        write_index(self.storage, copies)
        self._indexed = {*stages}

    def locate(self, kind: str, name: str, key: str) -> StageFiles:
        """A stage's files, listed now; it gets its place if it has none."""
        self._stages.setdefault(key[:KEY_DIGITS], StageFiles(stage_folder(kind, name, key)))
        stage = self.look(key)
        assert stage is not None
        return stage

    def claim(self, key: str, driver: str) -> str | None:
        """Take the next attempt of a stage that was located.

        Returns:
            The attempt's folder, relative to the root; None if another driver was faster.
        """
        stage = self._stages[key[:KEY_DIGITS]]
        number = 1 + max(stage.attempts, default=0)
        claim = Claim(driver=driver, started_unix_s=time.time()).model_dump_json().encode()
        try:
            self.storage.create(f"{stage.folder}/attempts/{number}/claim.json", claim)
        except FileExistsError:
            return None
        stage.files[f"attempts/{number}/claim.json"] = Entry(len(claim), "")
        return f"{stage.folder}/attempts/{number}"

    def holder(self, key: str) -> str | None:
        """The driver whose attempt at this stage has not ended, as far as the store tells."""
        stage = self.stage(key)
        if stage is None or not stage.attempts:
            return None
        attempt = f"attempts/{stage.attempts[-1]}"
        if any(f"{attempt}/{name}" in stage.files for name in ("failure.json", "interrupted.json")):
            return None
        with suppress(FileNotFoundError, ValidationError):
            return Claim.model_validate_json(self.storage.read(f"{stage.folder}/{attempt}/claim.json")).driver
        return None

    def describe(self, key: str, job: Mapping[str, Any]) -> None:
        """Write ``stage.json``: it names the inputs' folders, and one that was made anew has another."""
        self.storage.write(f"{self._stages[key[:KEY_DIGITS]].folder}/stage.json", json.dumps(job, indent=1).encode())

    def fail(self, attempt: str, failure: Failure) -> None:
        """Keep why an attempt failed."""
        self.storage.write(f"{attempt}/failure.json", failure.model_dump_json().encode())

    def interrupted(self, attempt: str, why: str) -> None:
        """Keep that an attempt stopped when asked to, so that another driver may go on at once."""
        self.storage.write(f"{attempt}/interrupted.json", json.dumps({"why": why}).encode())

    def commit(self, record: Record) -> Record:
        """Write a record: from here on the stage is done.

        Returns:
            The record that counts: another driver's, if that was faster.

        Raises:
            StoreError: an artifact is not there with the size that the record says.
        """
        stage = self.look(record.key)
        assert stage is not None
        for name, file in record.files.items():
            entry = stage.files.get(f"{record.out}/{name}")
            if entry is None or entry.size_bytes != file.size_bytes:
                raise StoreError(f"{stage.folder}/{record.out}/{name} was not written whole")
        path = f"{stage.folder}/{RECORD}"
        record = record.sealed()
        content = record.model_dump_json(indent=1).encode()
        self._forget(record.key)
        try:
            self.storage.create(path, content)
        except FileExistsError:
            content = self.storage.read(path)
            record = _parse_record(f"{self.root}/{path}", content)
        self._records[record.key[:KEY_DIGITS]] = record
        stage.files[RECORD] = Entry(len(content), "")
        self.storage.remove(f"{stage.folder}/{name}" for name in stage.files if "/checkpoint/" in name)
        return record

    def set_aside(self, key: str, why: str) -> None:
        """Move a damaged stage's record away: the stage is to be made anew. Its files stay for whoever looks.

        A record that has changed since it was last listed is left: another driver has made the stage anew already.
        """
        seen = self.stage(key)
        judged = seen.files.get(RECORD) if seen is not None else None
        record = f"{self.folder(key)}/{RECORD}"
        with suppress(FileNotFoundError):  # another driver was faster
            content = self.storage.read(record)
            stage = self.look(key)
            if stage is None or RECORD not in stage.files:
                return
            if judged is not None and judged.version and stage.files[RECORD] != judged:
                return
            number = 1 + sum(name.startswith("set-aside/") for name in stage.files)
            aside = f"{stage.folder}/set-aside/{number}-{slug(why)[:60]}.json"
            self.storage.move(record, aside)
            if self.storage.read(aside) != content:  # the stage was made anew between the look and the move
                with suppress(FileExistsError):
                    self.storage.create(record, self.storage.read(aside))
                self.storage.remove([aside])
        self._forget(key)
        self.look(key)

    # --- inside --------------------------------------------------------------------------------------------------

    def _forget(self, key: str) -> None:
        self._records.pop(key[:KEY_DIGITS], None)
        self._indexed.discard(key[:KEY_DIGITS])

    def _list(self) -> None:
        self._stages = found = group_stages(self.storage.listing("stages"))
        self._records = {
            short: r for short, r in self._records.items() if short in found and RECORD in found[short].files
        }

    def _read(self, paths: list[str]) -> list[bytes | None]:
        return read_many(self.storage, paths)


def user_cache() -> Path:
    """Where copies from buckets are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "winning-sign" / "stores"


def _parse_plan(path: str, content: bytes) -> StoredPlan:
    mend = (
        "repeat the command of its sweep, which writes it anew; or python -m orchestrator.verify sets it aside, and "
        "orchestrator.gc then no longer keeps what that sweep needs"
    )
    try:
        plan = StoredPlan.model_validate_json(content)
    except ValidationError as error:
        raise StoreError(f"{path} is no valid plan ({error.error_count()} faults); {mend}") from error
    if not plan.intact:
        raise StoreError(f"{path} is not what was written; {mend}")
    return plan


def _parse_record(path: str, content: bytes) -> Record:
    mend = "python -m orchestrator.verify sets it aside, and the next sweep makes the stage anew"
    try:
        record = Record.model_validate_json(content)
    except ValidationError as error:
        raise StoreError(f"{path} is no valid record ({error.error_count()} faults); {mend}") from error
    if not record.intact:
        raise StoreError(f"{path} is not what was written; {mend}")
    return record
