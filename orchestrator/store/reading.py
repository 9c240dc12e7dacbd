"""The reading half of a store: stages, records, failures, plans, and artifacts as local files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping
from pathlib import Path
from sys import intern

from orchestrator.store.index import current_copies, parse_record, read_index, read_records
from orchestrator.store.layout import COLLECTED, FOLDERS, KEY_DIGITS, StageFiles, group_stages
from orchestrator.store.plans import MOST_BYTES, StoredPlan
from orchestrator.store.record import REMEDY, Claim, Failure, Record, StoreError, in_circles, read_valid
from orchestrator.store.retrying import RetryingStorage
from orchestrator.store.values import Parts
from tickets.files import digest
from tickets.files.home import NoHomeError, user_cache
from winning_sign import without_collection
from workers.storage import Entry, Folder, Storage, UnreadableFileError, download_many, open_storage, read_many


class StoreReader:
    """A store to read, in a folder or at the URL of a bucket's folder; creates nothing."""

    def __init__(self, root: Path | str) -> None:
        try:
            self.storage: Storage = open_storage(root)
        except OSError as error:
            raise StoreError(str(error)) from error
        self.root = self.storage.root
        self._stages: dict[str, StageFiles] = {}
        self._records: dict[str, Record] = {}
        self._indexed: set[str] = set()
        self._parts: Parts = {}
        self._plans: dict[str, StoredPlan] = {}
        """Plans by the digest of their file: a plan of 20,000 stages takes seconds to parse."""

    def retry_failures(self, tell: Callable[[str], None], stopped: Callable[[], bool] = lambda: False) -> None:
        """From now on repeat storage calls that fail for a while, until ``stopped``; an outage begins with ``tell``."""
        if not isinstance(self.storage, RetryingStorage):
            self.storage = RetryingStorage(self.storage, tell)
        self.storage.tell, self.storage.stopped = tell, stopped

    # --- stages and records --------------------------------------------------------------------------------------

    @without_collection()
    def records(
        self, damaged: dict[str, str] | None = None, *, index: bool = True, relist: bool = True
    ) -> dict[str, Record]:
        """List the store and return every committed record by key; each record is read once.

        Args:
            damaged: receives a sentence for each damaged record, by the first digits of its key.
            index: accept copies from the index for records whose files have not changed since.
            relist: list the store's files now; False takes the last listing, if there is one.

        Raises:
            StoreError: a record is damaged, and ``damaged`` was not given.
        """
        if relist or not self._stages:
            self._list()
        unread = self._unread()
        if index and unread:
            copies = read_index(self.storage, unread, self._parts)
            self._records |= copies
            self._indexed |= copies.keys()
        found = read_records(self.storage, self._unread(), self._parts, self._records)
        inputs = {record.key: record.inputs.values() for record in self._records.values()} if unread else {}
        for key in in_circles(inputs):
            del self._records[key[:KEY_DIGITS]]
            path = f"{self.root}/{self._stages[key[:KEY_DIGITS]].record}"
            found[key[:KEY_DIGITS]] = f"{path} is of a stage that is an input of its own inputs; {REMEDY}"
        if damaged is not None:
            damaged |= found
        elif found:
            raise StoreError(next(iter(found.values())))
        return {record.key: record for record in self._records.values()}

    @without_collection()
    def check_records(self, damaged: dict[str, str]) -> None:
        """Find damaged records, as last listed, without parsing the index: a current copy there vouches for a record.

        Args:
            damaged: receives a sentence for each damaged record, by the first digits of its key.
        """
        unread = self._unread()
        copied = {short for short, _ in current_copies(self.storage, unread)}
        others = {short: stage for short, stage in unread.items() if short not in copied}
        damaged |= read_records(self.storage, others, self._parts, self._records)

    def require(self) -> None:
        """Raise StoreError if no store lies here; a folder of something else is not searched through."""
        remedy = "give the folder or the URL of a sweep's store"
        if not self.storage.exists():
            raise StoreError(f"{self.root}: there is no such store; {remedy}")
        folder = self.storage.folder
        if folder and any(folder.iterdir()) and not any((folder / name).is_dir() for name in FOLDERS):
            raise StoreError(f"{self.root} is no store: it has none of the folders {', '.join(FOLDERS)}; {remedy}")

    def record(self, key: str, *, reread: bool = False) -> Record | None:
        """Return one stage's record, or None if the stage is not done; raise StoreError if it is damaged."""
        short = key[:KEY_DIGITS]
        if reread:
            self._forget(key)
        if short not in self._records:
            stage = self._stages.get(short) or self.list_files(key)
            if stage is None or not stage.done:
                return None
            try:
                content = self.storage.read(stage.record)
            except FileNotFoundError:  # quarantined since the listing
                return None
            except UnreadableFileError as error:
                raise StoreError(str(error)) from error
            self._records[short] = parse_record(content, f"{self.root}/{stage.record}", short, self._parts)
        return self._records[short]

    def committed(self, key: str) -> Record:
        """Return one stage's record; raise StoreError if the stage is not done, or its record is damaged."""
        record = self.record(key)
        if record is None:
            raise StoreError(f"stage {key} is not in {self.root}")
        return record

    @without_collection()
    def listing(self) -> dict[str, Entry]:
        """All files by path, listed now; it is the last listing of the methods with ``relist``."""
        listing = self.storage.listing()
        self._group(listing)
        return listing

    def stage(self, key: str) -> StageFiles | None:
        """A stage's files as last listed; None if it has none."""
        return self._stages.get(key[:KEY_DIGITS])

    def stages(self, *, relist: bool = True) -> dict[str, StageFiles]:
        """All stages' files by the first digits of their keys, listed now unless ``relist`` is false."""
        if relist:
            self._list()
        return dict(self._stages)

    def list_files(self, key: str) -> StageFiles | None:
        """List one stage's files again; None if it has none."""
        stage = self.stage(key)
        if stage is None:
            self._list()
            return self.stage(key)
        listing = self.storage.listing(stage.folder)
        # files of all stages have the same few paths: each is kept once
        stage.files = {intern(path[len(stage.folder) + 1 :]): entry for path, entry in listing.items()}
        return stage

    def folder(self, key: str) -> str:
        """A stage's folder, relative to the root."""
        stage = self.stage(key) or self.list_files(key)
        if stage is None:
            raise StoreError(f"stage {key} is not in {self.root}")
        return stage.folder

    def out(self, key: str) -> str:
        """The folder of a committed stage's artifacts, relative to the root."""
        return f"{self.folder(key)}/{self.committed(key).out}"

    def local(
        self,
        files: Collection[tuple[str, str]],
        cache: Path | None = None,
        unreadable: MutableMapping[str, str] | None = None,
    ) -> dict[tuple[str, str], Path]:
        """Return artifacts as local files by (key, name).

        A bucket's are downloaded together, unless the cache, by default the user's, has them.

        Args:
            unreadable: receives a sentence for each file that is missing or must not be read, by its path.

        Raises:
            StoreError: a file is missing or must not be read, and ``unreadable`` was not given.
        """
        if self.storage.folder is not None:
            folder, paths = Folder(self.storage.folder), {}
            for key, name in files:
                path = f"{self.out(key)}/{name}"
                try:
                    paths[key, name] = folder.locate(path)
                except OSError as error:
                    if unreadable is None:
                        raise StoreError(f"{self.root}: {error}") from error
                    unreadable[path] = str(error)
            return paths
        cache = (cache or _downloads()) / digest.of_text(self.root)[:KEY_DIGITS]
        paths = {(key, name): cache / self.out(key) / name for key, name in files}
        missing = [(f"{self.out(key)}/{name}", path) for (key, name), path in paths.items() if not path.exists()]
        lost: dict[str, str] = {}
        try:
            download_many(self.storage, missing, lost)
        except OSError as error:
            raise StoreError(f"{self.root}: {error}") from error
        if lost and unreadable is None:
            raise StoreError(f"{self.root}: {next(iter(lost.values()))}")
        if unreadable is not None:
            unreadable.update(lost)
        return {(key, name): path for (key, name), path in paths.items() if f"{self.out(key)}/{name}" not in lost}

    def damage(self, key: str) -> str | None:
        """Check a committed stage's files by their sizes, as last listed; a sentence about the first damaged one."""
        record, stage = self.committed(key), self.stage(key)
        assert stage is not None
        for name, file in record.files.items():
            entry = stage.files.get(f"{record.out}/{name}")
            if entry is None and f"{record.out}/{name}{COLLECTED}" in stage.files:
                continue
            if entry is None or entry.size_bytes != file.size_bytes:
                return f"{self.root}/{stage.folder}/{record.out}/{name} is missing or cut short"
        return None

    def collected(self) -> set[str]:
        """Keys of committed stages that lost files to ``orchestrator.gc``: done, but no longer usable as inputs."""
        return {record.key for record in self._records.values() if self.is_collected(record)}

    def is_collected(self, record: Record) -> bool:
        """Whether a stage that is done lost files to ``orchestrator.gc``."""
        stage = self.stage(record.key)
        if stage is None or not stage.done:
            return False
        return any(f"{record.out}/{name}{COLLECTED}" in stage.files for name in record.files)

    def holder(self, key: str) -> str | None:
        """The driver whose attempt at this stage has not ended, as far as the store tells."""
        stage = self.stage(key)
        if stage is None or not stage.attempts:
            return None
        attempt = f"attempts/{stage.attempts[-1]}"
        if any(f"{attempt}/{name}" in stage.files for name in ("failure.json", "interrupted.json")):
            return None
        claims = read_valid(Claim, self.storage, [f"{stage.folder}/{attempt}/claim.json"])
        return next((claim.driver for claim in claims.values()), None)

    # --- failures and plans --------------------------------------------------------------------------------------

    def failures(self, *, relist: bool = True) -> list[Failure]:
        """The failures of unfinished stages whose last attempt failed, oldest first.

        Args:
            relist: list the store's files now; False takes the last listing.
        """
        if relist:
            self._list()
        unfinished = [stage for stage in self._stages.values() if not stage.done and stage.attempts]
        last = [(stage, f"attempts/{stage.attempts[-1]}/failure.json") for stage in unfinished]
        paths = [f"{stage.folder}/{path}" for stage, path in last if path in stage.files]
        failures = read_valid(Failure, self.storage, paths).values()
        return sorted(failures, key=lambda failure: failure.finished_unix_s)

    @without_collection()
    def plans(
        self, damaged: dict[str, str] | None = None, listing: Mapping[str, Entry] | None = None
    ) -> list[StoredPlan]:
        """Every stored plan, oldest first; ``damaged`` receives a sentence for each damaged one, by its path."""
        listing = self.storage.listing("plans") if listing is None else listing
        plans, unreadable = list[StoredPlan](), dict[str, str]()
        paths = sorted(path for path in listing if path.startswith("plans/"))
        for path, content in read_many(self.storage, paths, unreadable, most_bytes=MOST_BYTES).items():
            try:
                plans.append(self._plan(content, path))
            except StoreError as error:
                if damaged is not None:
                    damaged[path] = str(error)
        if damaged is not None:
            damaged |= {path: f"{why}; python -m orchestrator.verify sets it aside" for path, why in unreadable.items()}
        return sorted(plans, key=lambda plan: plan.started_unix_s)

    def _unread(self) -> dict[str, StageFiles]:
        """The committed stages, as last listed, whose records were not read yet, by the first digits of their keys."""
        return {s: stage for s, stage in self._stages.items() if stage.done and s not in self._records}

    def _plan(self, content: bytes, path: str) -> StoredPlan:
        name = digest.of_bytes(content)
        if name not in self._plans:
            self._plans[name] = StoredPlan.parse(content, f"{self.root}/{path}", self._parts)
        return self._plans[name]

    def _forget(self, key: str) -> None:
        self._records.pop(key[:KEY_DIGITS], None)
        self._indexed.discard(key[:KEY_DIGITS])

    @without_collection()
    def _list(self) -> None:
        self._group(self.storage.listing("stages"))

    def _group(self, listing: Mapping[str, Entry]) -> None:
        self._stages = stages = group_stages(listing)
        self._records = {s: record for s, record in self._records.items() if s in stages and stages[s].done}


def _downloads() -> Path:
    """The folder for files downloaded from buckets; StoreError if this user has no home folder."""
    try:
        return user_cache() / "stores"
    except NoHomeError as error:
        raise StoreError(str(error)) from error
