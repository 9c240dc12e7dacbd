"""The store: a folder or a bucket in which every stage has its place, found by key.

    {root}/stages/{kind}/{slug}-{key16}/stage.json                what it computes, from which inputs
                                       /attempts/{n}/claim.json   the attempt's driver, by exclusive creation
                                                    /log.txt, progress.json, checkpoint/, failure.json
                                                    /out/         the artifacts
                                       /record.json               the commit: names the attempt whose artifacts count;
                                                                  written last, by exclusive creation
                                       /set-aside/                quarantined records
    {root}/plans/{digest}.json         what sweeps set out to do
    {root}/drivers/, events/           drivers' leases, and what happened: see leases.py and events.py
    {root}/index.jsonl                 copies of the records, to read them at once; may be deleted
    {root}/copies/                     copies of the tables of results, likewise
    {root}/report.html

There is no mutable status: a stage is done if and only if it has a record. Workers write in their own attempt's folder
only, and a record is created once, so that a worker or driver that was given up and lives on never changes a result.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic_core import to_json

from orchestrator.store.index import parse_record, write_index
from orchestrator.store.layout import KEY_DIGITS, QUARANTINE, RECORD, StageFiles, slug, stage_folder
from orchestrator.store.plans import MOST_BYTES, StoredPlan
from orchestrator.store.reading import StoreReader
from orchestrator.store.record import Claim, Failure, Record, StoreError
from orchestrator.store.values import LARGEST_ATTEMPT
from tickets.files import digest
from workers.storage import Entry, UnreadableFileError


class Store(StoreReader):
    """A store to read and write."""

    _made = False  # whether this object made the root folder

    def open_for_writing(self) -> None:
        """Create the root; raise StoreError if the store cannot be written."""
        try:
            if self.storage.folder is not None:
                self._made = self._made or not self.storage.folder.exists()
                self.storage.folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=self.storage.folder):
                    pass
            else:
                self.storage.write("writable", b"")
                self.storage.remove(["writable"])
        except OSError as error:
            raise StoreError(f"{self.root}: the store cannot be written ({error}); give another --store") from error

    def discard_if_unused(self) -> None:
        """Remove the root folder if this object made it and nothing was written into it; else leases' empty folders."""
        root = self.storage.folder
        if root is None:
            return
        inner = [path for path in (root if self._made else root / "drivers").rglob("*") if path.is_dir()]
        for folder in [*sorted(inner, reverse=True), root if self._made else root / "drivers"]:
            with suppress(OSError):  # it holds something, such as a hidden file
                folder.rmdir()

    def write_plan(self, plan: StoredPlan) -> None:
        """Write a plan; it replaces an earlier plan of the same stages and studies, and keeps when that first began."""
        studies = "".join(study.model_dump_json() for study in plan.studies)
        name = digest.of_text("".join(stage.key for stage in plan.stages) + studies)[:KEY_DIGITS]
        path = f"plans/{name}.json"
        with suppress(FileNotFoundError, UnreadableFileError, StoreError):  # damaged: this plan mends it
            earlier = self.storage.read(path, MOST_BYTES)
            first = plan.first_started_in(earlier) or self._plan(earlier, path).first_started
            plan = plan.model_copy(update={"first_started_unix_s": first})
        plan = plan.sealed()
        content = plan.model_dump_json().encode()
        self.storage.write(path, content)
        self._plans[digest.of_bytes(content)] = plan

    def write_index(self) -> None:
        """Write copies of all records read so far to the index, unless it has them all."""
        if self._records.keys() <= self._indexed:
            return
        write_index(self.storage, self._stages, self._records)
        self._indexed = {*self._records}

    # --- attempts ------------------------------------------------------------------------------------------------

    def locate(self, kind: str, name: str, key: str) -> StageFiles:
        """List a stage's files, and give the stage its folder if it has none."""
        self._stages.setdefault(key[:KEY_DIGITS], StageFiles(stage_folder(kind, name, key)))
        stage = self.list_files(key)
        assert stage is not None
        return stage

    def claim(self, key: str, driver: str) -> str | None:
        """Claim the next attempt of a located stage; return its folder, or None if another driver was faster."""
        stage = self._stages[key[:KEY_DIGITS]]
        number = 1 + max(stage.attempts, default=0)
        if number > LARGEST_ATTEMPT:
            raise StoreError(f"{self.root}/{stage.folder}/attempts holds attempt {number - 1}; move that folder away")
        path = f"{stage.folder}/attempts/{number}/claim.json"
        claim = Claim(driver=driver, started_unix_s=time.time()).model_dump_json().encode()
        try:
            self.storage.create(path, claim, durable=False)  # a power cut ends the attempt too
        except FileExistsError:
            self.storage.read(path)  # an error if something else than a claim stands there
            return None
        stage.files[f"attempts/{number}/claim.json"] = Entry(len(claim), "")
        return f"{stage.folder}/attempts/{number}"

    def write_stage_file(self, key: str, job: Mapping[str, Any]) -> None:
        """Write ``stage.json``, again for each attempt: an input that was computed again has another folder."""
        content = to_json(job, indent=1, inf_nan_mode="constants")  # json.dumps with an indent is slow
        self.storage.write(f"{self._stages[key[:KEY_DIGITS]].folder}/stage.json", content, durable=False)

    def write_failure(self, attempt: str, failure: Failure) -> None:
        """Write why an attempt failed."""
        self.storage.write(f"{attempt}/failure.json", failure.model_dump_json().encode())

    def write_interruption(self, attempt: str, why: str) -> None:
        """Write that an attempt stopped when asked to, so that another driver may go on at once."""
        self.storage.write(f"{attempt}/interrupted.json", json.dumps({"why": why}).encode())

    def commit(self, record: Record) -> Record:
        """Write a record: from here on the stage is done; return the record that counts, perhaps another driver's.

        Raises:
            StoreError: an artifact is missing, or has another size than the record says.
        """
        stage = self.list_files(record.key)
        assert stage is not None
        for name, file in record.files.items():
            entry = stage.files.get(f"{record.out}/{name}")
            if entry is None or entry.size_bytes != file.size_bytes:
                raise StoreError(f"{stage.folder}/{record.out}/{name} was not written whole")
        self._forget(record.key)
        content = record.sealed().model_dump_json(indent=1).encode()
        while True:
            try:
                self.storage.create(stage.record, content)
                break
            except FileExistsError:
                with suppress(FileNotFoundError):  # quarantined since: try again
                    content = self.storage.read(stage.record)
                    break
        # as read: what stages share is kept once
        record = parse_record(content, f"{self.root}/{stage.record}", record.key, self._parts)
        self._records[record.key[:KEY_DIGITS]] = record
        stage.files[RECORD] = Entry(len(content), "")
        self.storage.remove(f"{stage.folder}/{name}" for name in stage.files if "/checkpoint/" in name)
        return record

    def _content(self, path: str) -> bytes | None:
        """The content of a file; None if it must not be read."""
        try:
            return self.storage.read(path)
        except UnreadableFileError:
            return None

    def quarantine(self, key: str, why: str) -> None:
        """Move a damaged stage's record away, so that the stage is computed again; its other files stay.

        A record that has changed since it was last listed is left alone: another driver has computed the stage again.
        """
        before = self.stage(key)
        judged = before.files.get(RECORD) if before is not None else None
        record = f"{self.folder(key)}/{RECORD}"
        with suppress(FileNotFoundError):  # another driver was faster
            content = self._content(record)
            stage = self.list_files(key)
            if stage is None or not stage.done:
                return
            if judged is not None and judged.version and stage.files[RECORD] != judged:
                return
            number = 1 + sum(name.startswith(QUARANTINE) for name in stage.files)
            target = f"{stage.folder}/{QUARANTINE}{number}-{slug(why)[:60]}.json"
            self.storage.move(record, target)
            if self._content(target) != content:  # a new record was written between the listing and the move
                with suppress(FileExistsError):
                    self.storage.create(record, self.storage.read(target))
                self.storage.remove([target])
        self._forget(key)
        self.list_files(key)
