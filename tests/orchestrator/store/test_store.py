"""The store: a stage is done if and only if it has a record, whatever was killed, torn or damaged."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.store import Store, StoreError
from orchestrator.store.events import Outlook, outlook
from orchestrator.store.index import INDEX
from orchestrator.store.layout import KEY_DIGITS, RECORD, slug
from orchestrator.store.plans import PlannedStage, StoredPlan
from orchestrator.store.record import Claim, Failure, Labels, Record
from workers.attempts.workspace import Artifact, artifact

KEY, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2
NAME = "tiny/resnet1d/dense/seed1"
LABELS = Labels(dataset="tiny", architecture="resnet1d", preset="sound", transfer="dense", seed=1)


@pytest.fixture(params=["folder", "bucket"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new store's root."""
    if request.param == "folder":
        return str(tmp_path / "store")
    return f"{request.getfixturevalue('s3')}/{uuid4()}"


def record(key: str = KEY, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "key": key,
        "kind": "train",
        "name": NAME,
        "labels": LABELS,
        "science": {"init_seed": 1},
        "inputs": {},
        "attempt": 1,
        "files": {},
        "results": {"density": 1.0},
        "seconds": 0.5,
        "finished_unix_s": 1.0,
        "provenance": {},
    }
    return Record(**{**values, **changes})


FILE = Artifact(size_bytes=3, blake2b="0" * 32)


def claim(store: Store, key: str = KEY, driver: str = "one") -> str | None:
    """Claim a new attempt of a stage."""
    store.locate("train", NAME, key)
    return store.claim(key, driver)


def attempt(store: Store, key: str = KEY, content: bytes = b"weights") -> Record:
    """Claim a new attempt and write its artifact; return the record to commit."""
    folder = claim(store, key)
    assert folder is not None
    store.storage.write(f"{folder}/out/weights.safetensors", content)
    number = int(folder.rpartition("/")[2])
    files = {"weights.safetensors": Artifact(size_bytes=len(content), blake2b="0" * 32)}
    return record(key, attempt=number, out=f"attempts/{number}/out", files=files)


def content(store: Store, key: str = KEY) -> bytes:
    """The content of a committed stage's artifact."""
    return store.storage.read(f"{store.out(key)}/weights.safetensors")


def failure(folder: str, message: str, time_unix_s: float, key: str = KEY) -> Failure:
    return Failure(
        key=key,
        name=NAME,
        attempt=int(folder.rpartition("/")[2]),
        error_type="ValueError",
        message=message,
        log=f"{folder}/log.txt",
        finished_unix_s=time_unix_s,
        cause="application",
    )


def test_a_committed_stage_is_done(root: str) -> None:
    store = Store(root)
    committed = store.commit(attempt(store))
    assert Store(root).record(KEY) == committed
    assert Store(root).records() == {KEY: committed}
    assert content(Store(root)) == b"weights"


def test_artifacts_without_a_record_are_not_taken_for_done(root: str) -> None:
    attempt(Store(root))
    fresh = Store(root)
    assert fresh.record(KEY) is None
    assert fresh.records() == {}
    with pytest.raises(StoreError, match="is not in"):
        fresh.out(KEY)
    fresh.commit(attempt(fresh, content=b"anew"))
    assert content(fresh) == b"anew"


def test_of_two_commits_the_first_counts_for_both_drivers(root: str) -> None:
    one, two = Store(root), Store(root)
    slow, fast = attempt(one, content=b"slow"), attempt(two, content=b"fast")
    assert (slow.attempt, fast.attempt) == (1, 2)
    assert two.commit(fast).attempt == 2
    assert one.commit(slow).attempt == 2  # the one that counts
    assert content(one) == content(Store(root)) == b"fast"


def test_of_many_drivers_that_claim_an_attempt_at_once_one_succeeds(root: str) -> None:
    stores = [Store(root) for _ in range(8)]
    for store in stores:
        store.locate("train", NAME, KEY)
    start, got = threading.Barrier(len(stores)), list[str | None]()

    def take(index: int) -> None:
        start.wait()
        got.append(stores[index].claim(KEY, f"driver-{index}"))

    threads = [threading.Thread(target=take, args=(index,)) for index in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (folder,) = [folder for folder in got if folder is not None]
    assert folder.endswith("attempts/1")
    reader = Store(root)
    reader.locate("train", NAME, KEY)
    assert str(reader.holder(KEY)).startswith("driver-")


def test_a_stage_has_a_holder_until_its_attempt_has_ended(root: str) -> None:
    store = Store(root)
    first = claim(store, driver="one")
    assert first is not None
    reader = Store(root)
    reader.locate("train", NAME, KEY)
    assert reader.holder(KEY) == "one"
    store.write_failure(first, failure(first, "out of luck", 1.0))
    reader.list_files(KEY)
    assert reader.holder(KEY) is None
    second = claim(store, driver="two")
    assert second is not None
    reader.list_files(KEY)
    assert reader.holder(KEY) == "two"
    store.write_interruption(second, "stopped")
    reader.list_files(KEY)
    assert reader.holder(KEY) is None


def test_a_reader_sees_a_record_that_another_process_commits_later(root: str) -> None:
    reader, writer = Store(root), Store(root)
    assert reader.record(KEY) is None
    writer.commit(attempt(writer))
    assert reader.record(KEY) is not None
    assert KEY in reader.records()


def test_a_commit_removes_checkpoints_and_keeps_logs(root: str) -> None:
    store = Store(root)
    first = claim(store)
    store.storage.write(f"{first}/checkpoint/00001-0000000.safetensors", b"")
    store.storage.write(f"{first}/log.txt", b"killed")
    done = attempt(store)
    assert Store(root).stages()[KEY[:16]].checkpoint == "00001-0000000.safetensors"
    store.commit(done)
    assert Store(root).stages()[KEY[:16]].checkpoint == ""
    assert store.storage.read(f"{first}/log.txt") == b"killed"


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_a_stage_with_damaged_artifacts_is_quarantined_and_computed_again(root: str, damage: str) -> None:
    store = Store(root)
    store.commit(attempt(store))
    assert store.damage(KEY) is None
    weights = f"{store.out(KEY)}/weights.safetensors"
    store.storage.remove([weights]) if damage == "missing" else store.storage.write(weights, b"we")
    reader = Store(root)
    reader.records()
    assert "weights.safetensors is missing or cut short" in str(reader.damage(KEY))
    reader.quarantine(KEY, "damaged")
    assert Store(root).records() == {}
    reader.commit(attempt(reader, content=b"anew"))
    assert content(Store(root)) == b"anew"
    assert any(name.startswith("set-aside/") for name in Store(root).stages()[KEY[:16]].files)


def test_artifacts_that_were_not_written_whole_are_not_committed(root: str) -> None:
    store = Store(root)
    wanted = attempt(store)
    store.storage.write(f"{store.folder(KEY)}/{wanted.out}/weights.safetensors", b"wei")
    with pytest.raises(StoreError, match="not written whole"):
        store.commit(wanted)
    assert Store(root).records() == {}


def test_only_a_folder_that_the_store_made_is_discarded(tmp_path: Path) -> None:
    made = Store(tmp_path / "made")
    made.open_for_writing()
    (tmp_path / "made" / "drivers" / "someone").mkdir(parents=True)
    made.discard_if_unused()
    assert not (tmp_path / "made").exists()
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / ".env").write_text("SECRET=1")
    (tmp_path / "link").symlink_to(theirs)
    for path in (theirs, tmp_path / "link"):
        store = Store(path)
        store.open_for_writing()
        (path / "drivers" / "someone").mkdir(parents=True)
        store.discard_if_unused()
        assert [each.name for each in theirs.iterdir()] == [".env"]


def test_the_number_of_a_removed_attempt_is_not_used_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for _ in range(2):
        claim(store)
    shutil.rmtree(next(tmp_path.rglob("attempts/1")))
    assert str(claim(Store(tmp_path))).endswith("/3")


def test_attempts_are_numbered_from_one(root: str) -> None:
    folders = [str(claim(Store(root))) for _ in range(11)]
    assert [folder.rpartition("/")[2] for folder in folders] == [str(number) for number in range(1, 12)]


def test_a_folder_is_named_by_meaning_and_found_by_key(root: str) -> None:
    store = Store(root)
    assert claim(store) == f"stages/train/tiny-resnet1d-dense-seed1-{KEY[:16]}/attempts/1"
    renamed = Store(root)
    renamed.records()
    renamed.locate("train", "another/name", KEY)  # labels may change, the key says what it is
    assert renamed.claim(KEY, "two") == f"stages/train/tiny-resnet1d-dense-seed1-{KEY[:16]}/attempts/2"


def test_a_slug_is_safe_as_a_folder_name() -> None:
    assert slug("../Tiny Net/ä b") == "tiny-net-b"


def test_failures_are_those_of_the_last_attempts_at_unfinished_stages(root: str) -> None:
    store = Store(root)
    for number in range(1, 12):  # 11 is newer than 9, though not by name
        folder = str(claim(store))
        store.write_failure(folder, failure(folder, f"failure {number}", float(number)))
    other = str(claim(store, OTHER))
    store.write_failure(other, failure(other, "earlier", 0.5, OTHER))
    assert [each.message for each in Store(root).failures()] == ["earlier", "failure 11"]

    claim(store, OTHER)  # tried again, and not failed so far
    assert [each.message for each in Store(root).failures()] == ["failure 11"]
    store.commit(attempt(store))
    assert Store(root).failures() == []


def test_a_torn_failure_is_skipped(root: str) -> None:
    store = Store(root)
    store.storage.write(f"{claim(store)}/failure.json", b'{"key": ')
    assert Store(root).failures() == []


def test_the_index_replaces_reading_records_but_never_a_changed_one(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(root)
    committed = {key: store.commit(attempt(store, key)) for key in (KEY, OTHER)}
    store.records()
    store.write_index()

    def paths_read(reader: Store) -> list[str]:
        read: list[str] = []
        original: Callable[[str], bytes] = reader.storage.read
        monkeypatch.setattr(reader.storage, "read", lambda path, *more, **how: (read.append(path), original(path))[1])
        assert reader.records() == {record.key: record for record in reader.records().values()}
        return read

    indexed = Store(root)
    assert paths_read(indexed) == [INDEX]
    assert indexed.records() == committed
    store.storage.write(INDEX, b"")
    indexed.write_index()  # it was whole when it was read: nothing to do
    assert store.storage.read(INDEX) == b""
    late = Store(root)
    assert late.records() == committed
    late.write_index()
    assert paths_read(Store(root)) == [INDEX]

    folder = store.folder(KEY)
    store.storage.remove([f"{folder}/{RECORD}"])
    changed = committed[KEY].model_copy(update={"seconds": 9.25}).sealed()
    store.storage.write(f"{folder}/{RECORD}", changed.model_dump_json().encode())
    after = Store(root)
    assert after.records() == {KEY: changed, OTHER: committed[OTHER]}

    head, _, copy = store.storage.read(INDEX).splitlines()[0].partition(b"\t")
    of_another_format = json.dumps(json.loads(head) | {"record": copy.decode()}).encode()
    for torn in (of_another_format, b"{", b"\n[]\n1", b"\xff"):
        store.storage.write(INDEX, torn)
        assert Store(root).records() == {KEY: changed, OTHER: committed[OTHER]}


def test_damaged_records_are_found_without_reading_those_that_the_index_has(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root)
    for key in (KEY, OTHER):
        store.commit(attempt(store, key))
    store.records()
    store.write_index()
    damaged_record = f"{store.folder(OTHER)}/{RECORD}"
    store.storage.write(damaged_record, b"{")
    reader, read = Store(root), list[str]()
    original: Callable[..., bytes] = reader.storage.read
    monkeypatch.setattr(
        reader.storage, "read", lambda path, *more, **how: (read.append(path), original(path, *more))[1]
    )
    damaged: dict[str, str] = {}
    reader.stages()
    reader.check_records(damaged)
    assert [*damaged] == [OTHER[:KEY_DIGITS]]
    assert damaged_record in damaged[OTHER[:KEY_DIGITS]]
    assert read == [INDEX, damaged_record]
    assert reader.records({}).keys() == {KEY}


def test_a_moved_store_can_be_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "here")
    committed = store.commit(attempt(store))
    store.write_plan(plan(KEY))
    store.write_index()
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = Store(tmp_path / "there")
    assert moved.records() == {KEY: committed}
    ((_, path),) = moved.local([(KEY, "weights.safetensors")]).items()
    assert path.is_relative_to(tmp_path / "there")
    assert len(moved.plans()) == 1
    assert str(tmp_path) not in "".join(file.read_text() for file in (tmp_path / "there").rglob("*.json*"))


def test_artifacts_of_any_store_become_local_files(root: str, tmp_path: Path) -> None:
    store = Store(root)
    store.commit(attempt(store))
    (path,) = store.local([(KEY, "weights.safetensors")], tmp_path / "cache").values()
    assert path.read_bytes() == b"weights"
    assert artifact(path).size_bytes == 7


def plan(*keys: str, started_unix_s: float = 1.0) -> StoredPlan:
    stages = [PlannedStage(key=key, kind="train", name=NAME, labels=LABELS) for key in keys]
    return StoredPlan(argv=["sweep"], started_unix_s=started_unix_s, stages=stages)


def test_equal_plans_are_stored_once_with_the_last_sweep_and_listed_oldest_first(root: str) -> None:
    store = Store(root)
    for keys, started in (((KEY,), 1.0), ((KEY, OTHER), 2.0), ((KEY,), 3.0)):
        store.write_plan(plan(*keys, started_unix_s=started))
    assert [(len(stored.stages), stored.started_unix_s) for stored in store.plans()] == [(2, 2.0), (1, 3.0)]


def test_a_plan_keeps_when_it_first_began_without_parsing_its_earlier_stages(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(StoredPlan, "parse", lambda *_: pytest.fail("an equal plan's stages are not parsed"))
        for started in (1.0, 3.0, 5.0):
            Store(root).write_plan(plan(KEY, OTHER, started_unix_s=started))
    [stored] = Store(root).plans()
    assert (stored.first_started, stored.started_unix_s) == (1.0, 5.0)

    renamed = stored.model_copy(
        update={"stages": [stored.stages[0], plan(OTHER).stages[0].model_copy(update={"name": "x"})]}
    )
    Store(root).write_plan(renamed.model_copy(update={"started_unix_s": 7.0, "first_started_unix_s": None}))
    assert Store(root).plans()[0].first_started == 1.0  # another name: the earlier plan is parsed

    storage = Store(root).storage
    [path] = storage.listing("plans")
    content = storage.read(path)
    damaged = content.replace(b'"first_started_unix_s":1.0', b'"first_started_unix_s":0.5')
    assert damaged != content
    storage.write(path, damaged)
    Store(root).write_plan(plan(KEY, OTHER, started_unix_s=9.0))
    assert Store(root).plans()[0].first_started == 9.0  # no time of a damaged file is believed


def test_reading_a_missing_store_creates_nothing(root: str, tmp_path: Path) -> None:
    store = Store(root)
    assert not store.storage.exists()
    assert (store.record(KEY), store.records(), store.failures(), store.plans()) == (None, {}, [], [])
    assert not store.storage.listing()
    assert not (tmp_path / "store").exists()


def test_a_store_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for root in (Path("/dev/null/store"), file, file / "store", Path("/proc/store")):
        with pytest.raises(StoreError, match="give another --store"):
            Store(root).open_for_writing()
    assert file.read_bytes() == b""


def test_a_missing_bucket_is_refused_before_any_work(s3: str) -> None:
    with pytest.raises(StoreError, match="give another --store"):
        Store("s3://no-such-bucket/sweeps").open_for_writing()


@pytest.mark.parametrize("root", ["https://host/store", "ftp://host/store"])
def test_a_url_of_an_unsupported_scheme_is_refused(root: str) -> None:
    with pytest.raises(StoreError, match="s3://"):
        Store(root)
    with pytest.raises(StoreError, match="s3://"):
        Store(Path(root))  # a path joins slashes


@pytest.mark.parametrize("text", ["", "{", '{"key": 1}', "[]"])
def test_the_error_about_a_damaged_record_names_its_path_and_the_remedy(root: str, text: str) -> None:
    store = Store(root)
    attempt(store)
    path = f"{store.folder(KEY)}/{RECORD}"
    store.storage.write(path, text.encode())
    for read in (Store(root).records, lambda: Store(root).record(KEY)):
        with pytest.raises(StoreError, match="no valid record") as caught:
            read()
        assert path in str(caught.value)
        assert "orchestrator.verify" in str(caught.value)
    damaged: dict[str, str] = {}
    assert Store(root).records(damaged) == {}
    assert damaged.keys() == {KEY[:16]}


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_flipped_bit_of_a_record_is_detected(place: int, bit: int) -> None:
    written = record(results={"test_accuracy_percent": 91.25, "lost": float("nan")}, files={"a": FILE}).sealed()
    content = bytearray(written.model_dump_json(indent=1).encode())
    content[place % len(content)] ^= 1 << bit
    try:
        read = Record.model_validate_json(bytes(content))
    except ValidationError:
        return
    assert not read.intact or read.model_dump_json() == written.model_dump_json()  # the bit was of a blank


def test_the_error_about_a_changed_record_names_the_remedy(root: str) -> None:
    store = Store(root)
    store.commit(attempt(store))
    path = f"{store.folder(KEY)}/{RECORD}"
    store.storage.write(path, store.storage.read(path).replace(b'"density": 1.0', b'"density": 0.5'))
    with pytest.raises(StoreError, match=r"differs from its checksum.*orchestrator\.verify"):
        Store(root).records()


def test_records_of_versions_without_a_digest_count_as_intact() -> None:
    assert record(schema_version=2).intact
    assert not record().intact
    assert not record(schema_version=2, blake2b="0" * 32).intact


def test_of_two_folders_with_one_key_the_one_with_the_record_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    committed = store.commit(attempt(store))
    earlier = tmp_path / "stages" / "train" / f"a-{KEY[:16]}"
    (earlier / "attempts" / "7").mkdir(parents=True)
    (earlier / "attempts" / "7" / "claim.json").write_text("{}")
    read = Store(tmp_path)
    assert read.records() == {KEY: committed}
    assert read.damage(KEY) is None
    stage = read.list_files(KEY)
    assert stage is not None
    assert stage.folder == store.folder(KEY)
    assert stage.attempts == [1]


def test_a_torn_plan_is_skipped_and_reported(root: str) -> None:
    store = Store(root)
    store.write_plan(plan(KEY))
    store.storage.write("plans/torn.json", b'{"argv": [')
    damaged: dict[str, str] = {}
    assert [len(stored.stages) for stored in Store(root).plans(damaged)] == [1]
    assert list(damaged) == ["plans/torn.json"]
    assert "repeat its sweep's command" in damaged["plans/torn.json"]


def test_every_flipped_bit_and_every_cut_of_a_plan_is_detected(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_plan(plan(KEY, OTHER))
    (file,) = (tmp_path / "plans").iterdir()
    (written,), content = store.plans(), file.read_bytes()
    broken = [content[:length] for length in range(len(content))]
    for at, bit in product(range(len(content)), range(8)):
        broken.append(content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :])
    unseen = []
    for each in broken:
        file.write_bytes(each)
        damaged: dict[str, str] = {}
        unseen += [stored for stored in store.plans(damaged) if stored != written]
        assert len(damaged) < 2
    assert unseen == []


def test_a_plan_of_a_version_without_a_digest_is_valid(root: str) -> None:
    store = Store(root)
    store.storage.write("plans/old.json", plan(KEY).model_dump_json(exclude={"blake2b"}).encode())
    damaged: dict[str, str] = {}
    assert [len(stored.stages) for stored in store.plans(damaged)] == [1]
    assert damaged == {}


def test_fields_are_written_in_the_order_over_which_older_versions_computed_digests() -> None:
    assert " ".join(json.loads(record().model_dump_json())) == (
        "schema_version key kind name labels science inputs attempt files out results seconds finished_unix_s "
        "provenance blake2b"
    )
    planned = PlannedStage(**record().model_dump(include={"key", "kind", "name", "labels", "science", "inputs"}))
    assert " ".join(json.loads(planned.model_dump_json())) == "key kind name labels inputs science parts"


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {"../../../etc/passwd": Artifact(size_bytes=0, blake2b="")}},
        {"files": {"/etc/passwd": Artifact(size_bytes=0, blake2b="")}},
        {"files": {".hidden": Artifact(size_bytes=0, blake2b="")}},
        {"out": "../../elsewhere"},
        {"out": "/etc"},
        {"key": "../" * 10},
        {"inputs": {"ticket": "../x"}},
    ],
)
def test_no_name_in_a_record_leads_out_of_the_stages_folder(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        record(**changes)


def test_a_claims_driver_is_no_path() -> None:
    for driver in ("../../victim", "a/b", "", "/etc"):
        with pytest.raises(ValidationError):
            Claim(driver=driver, started_unix_s=0.0)


def test_a_driver_that_judged_the_earlier_record_does_not_quarantine_the_new_one(root: str) -> None:
    late, other = Store(root), Store(root)
    other.commit(attempt(other))
    late.records()
    other.list_files(KEY)
    other.quarantine(KEY, "damaged")
    committed = other.commit(attempt(other))
    late.quarantine(KEY, "damaged")
    assert Store(root).records() == {KEY: committed}
    assert len([path for path in other.storage.listing() if "/set-aside/" in path]) == 1


def test_a_record_written_during_a_quarantine_stays(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    late, other = Store(root), Store(root)
    other.commit(attempt(other))
    late.records()
    committed = []
    move = late.storage.move

    def after_the_other(path: str, to: str) -> None:
        other.list_files(KEY)
        other.quarantine(KEY, "judged first")
        committed.append(other.commit(attempt(other)))
        move(path, to)

    monkeypatch.setattr(late.storage, "move", after_the_other)
    late.quarantine(KEY, "damaged")
    assert Store(root).records() == {KEY: committed[0]}
    assert len([path for path in other.storage.listing() if "/set-aside/" in path]) == 1
    assert late.record(KEY) == committed[0]


def test_a_failures_log_is_a_path_in_the_store() -> None:
    with pytest.raises(ValidationError):
        failure("stages/train/x/attempts/1", "m", 0.0).model_validate(
            failure("stages/train/x/attempts/1", "m", 0.0).model_dump() | {"log": "../../etc/passwd"}
        )


def about(text: str, seconds: float, stages: int) -> Outlook:
    return Outlook(f"About {text} left, if the other stages end at the pace of the last {stages}.", seconds, stages)


UNKNOWN = Outlook("The time left is not known yet.")


@pytest.mark.parametrize(
    ("ended", "unfinished", "given_up", "at_work", "expected"),
    [
        ([0.0, 10.0, 20.0], 4, 0, True, about("40 s", 40.0, 3)),
        ([0.0, 10.0, 20.0], 4, 2, True, about("40 s", 40.0, 3)),
        ([0.0, 10.0], 4, 0, True, UNKNOWN),
        ([7.0, 7.0, 7.0], 4, 0, True, UNKNOWN),
        # an earlier sweep's stages do not count
        ([0.0, *(1000.0 + 2 * stage for stage in range(30))], 3, 0, True, about("6 s", 6.0, 20)),
        ([5.0, 5.0], 0, 0, False, Outlook("All done: 0 stages are left.", 0.0)),
        ([5.0], 0, 2, True, Outlook("Ending: 2 stages are left: failed, cancelled, or blocked by such a stage.")),
        (
            [0.0, 10.0, 20.0],
            3,
            1,
            False,
            Outlook("Nothing runs, and 4 stages are left. Repeat the sweep's command to go on."),
        ),
        ([], 0, 1, False, Outlook("Nothing runs, and 1 stage is left. Repeat the sweep's command to go on.")),
    ],
)
def test_a_time_is_left_only_while_a_driver_is_at_work(
    ended: list[float], unfinished: int, given_up: int, at_work: bool, expected: Outlook
) -> None:
    assert outlook(ended, unfinished=unfinished, given_up=given_up, at_work=at_work) == expected
