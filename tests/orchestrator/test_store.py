"""The store: a stage is done when its record is there, and nothing that is killed or torn can say otherwise."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator import store as store_module
from orchestrator.record import Failure, File, Labels, PlannedStage, Record, StoredPlan
from orchestrator.store import Store, StoreError, slug, write_atomically

KEY, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2
NAME = "tiny/resnet1d/dense/seed1"
LABELS = Labels(dataset="tiny", architecture="resnet1d", preset="sound", transfer="dense", seed=1)


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


def attempt(store: Store, key: str = KEY, content: bytes = b"weights") -> Path:
    """A new attempt that has written its artifacts."""
    folder = store.new_attempt("train", NAME, key, {"key": key})
    (folder / "out").mkdir()
    (folder / "out" / "weights.safetensors").write_bytes(content)
    return folder


def failure(folder: Path, message: str, time_unix_s: float, key: str = KEY) -> Failure:
    return Failure(
        key=key,
        name=NAME,
        attempt=int(folder.name),
        error_type="ValueError",
        message=message,
        log="log.txt",
        finished_unix_s=time_unix_s,
        cause="application",
    )


def test_a_committed_stage_is_done_with_its_files_hashed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    committed = store.commit(attempt(store), record())
    assert Store(tmp_path).record(KEY) == committed
    assert Store(tmp_path).records() == {KEY: committed}
    assert (Store(tmp_path).out(KEY) / "weights.safetensors").read_bytes() == b"weights"
    file = committed.files["weights.safetensors"]
    assert (file.size_bytes, len(file.blake2b)) == (7, 32)


def test_another_content_has_another_hash(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = store.commit(attempt(store), record())
    two = store.commit(attempt(store, OTHER, b"Weights"), record(OTHER))
    assert one.files["weights.safetensors"].blake2b != two.files["weights.safetensors"].blake2b


def test_artifacts_without_a_record_are_not_taken_for_done(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = attempt(store)
    (folder / "out").rename(folder.parent.parent / "out")  # a driver killed between the move and the record
    fresh = Store(tmp_path)
    assert fresh.record(KEY) is None
    assert fresh.records() == {}
    with pytest.raises(StoreError, match="is not in"):
        fresh.out(KEY)
    again = attempt(fresh, content=b"anew")
    fresh.commit(again, record(attempt=2))
    assert (fresh.out(KEY) / "weights.safetensors").read_bytes() == b"anew"


def test_a_stage_is_committed_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    slow, fast = attempt(store, content=b"slow"), attempt(store, content=b"fast")
    store.commit(fast, record(attempt=2))
    with pytest.raises(StoreError, match="record exists already"):
        Store(tmp_path).commit(slow, record(attempt=1))
    assert (store.out(KEY) / "weights.safetensors").read_bytes() == b"fast"
    found = Store(tmp_path).record(KEY)
    assert found is not None
    assert found.attempt == 2


def test_of_two_commits_at_once_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = attempt(Store(tmp_path), content=b"slow"), attempt(Store(tmp_path), content=b"fast")
    hash_file = store_module._file

    def overtaken(path: Path) -> File:
        monkeypatch.setattr(store_module, "_file", hash_file)
        Store(tmp_path).commit(fast, record(attempt=2))
        return hash_file(path)

    monkeypatch.setattr(store_module, "_file", overtaken)  # between the first one's check and its record
    with pytest.raises((FileExistsError, StoreError)):
        Store(tmp_path).commit(slow, record(attempt=1))
    found = Store(tmp_path).record(KEY)
    assert found is not None
    assert found.attempt == 2
    assert (Store(tmp_path).out(KEY) / "weights.safetensors").read_bytes() == b"fast"


def test_a_store_that_is_read_sees_what_another_process_commits_later(tmp_path: Path) -> None:
    reader, writer = Store(tmp_path), Store(tmp_path)
    assert reader.record(KEY) is None
    writer.commit(attempt(writer), record())
    assert reader.record(KEY) is not None
    assert KEY in reader.records()


def test_checkpoints_go_when_the_stage_is_done_and_logs_stay(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.new_attempt("train", NAME, KEY, {})
    (first / "checkpoint").mkdir()
    (first / "log.txt").write_text("killed")
    second = attempt(store)
    (second / "checkpoint").mkdir()
    store.commit(second, record(attempt=2))
    assert not list(tmp_path.rglob("checkpoint"))
    assert (first / "log.txt").read_text() == "killed"


def test_a_failed_write_leaves_neither_file_nor_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.link", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"content", exclusive=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*arguments: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", unsupported)
    path = tmp_path / "record.json"
    write_atomically(path, b"content", exclusive=True)
    assert path.read_bytes() == b"content"
    with pytest.raises(FileExistsError):
        write_atomically(path, b"other", exclusive=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_a_record_whose_artifacts_are_damaged_is_not_taken_for_done(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    store.commit(attempt(store), record())
    store.check_intact(KEY)
    weights = store.out(KEY) / "weights.safetensors"
    weights.unlink() if damage == "missing" else weights.write_bytes(b"we")
    with pytest.raises(StoreError, match=r"weights\.safetensors is missing or cut short; remove"):
        store.check_intact(KEY)


def test_attempts_go_on_counting_when_one_was_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for _ in range(2):
        store.new_attempt("train", NAME, KEY, {})
    shutil.rmtree(next(tmp_path.rglob("attempts/1")))
    assert store.new_attempt("train", NAME, KEY, {}).name == "3"


def test_a_reader_sees_all_of_a_file_or_the_one_before(tmp_path: Path) -> None:
    path, large = tmp_path / "plan.json", 1 << 20
    write_atomically(path, b"0" * large)
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            content = path.read_bytes()
            seen.add(content[:1] + content[-1:] + str(len(content)).encode())

    reader = threading.Thread(target=read)
    reader.start()
    for round_ in range(20):
        write_atomically(path, str(round_ % 2).encode() * large)
    done.set()
    reader.join()
    assert seen <= {b"00%d" % large, b"11%d" % large}


def test_an_exclusive_write_never_replaces(tmp_path: Path) -> None:
    write_atomically(tmp_path / "record.json", b"first", exclusive=True)
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "record.json", b"second", exclusive=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"first"]


def test_attempts_are_numbered_from_one(tmp_path: Path) -> None:
    folders = [Store(tmp_path).new_attempt("train", NAME, KEY, {"key": KEY}) for _ in range(11)]
    assert [folder.name for folder in folders] == [str(number) for number in range(1, 12)]
    assert len({folder.parent for folder in folders}) == 1
    assert json.loads((folders[0].parent.parent / "stage.json").read_text()) == {"key": KEY}


def test_a_folder_is_named_by_meaning_and_found_by_key(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.new_attempt("train", NAME, KEY, {})
    assert folder.parent.parent == tmp_path / "stages" / "train" / f"tiny-resnet1d-dense-seed1-{KEY[:16]}"
    renamed = Store(tmp_path).new_attempt(
        "train", "another/name", KEY, {}
    )  # labels may change, the key says what it is
    assert renamed.parent == folder.parent


def test_a_slug_is_safe_as_a_folder_name() -> None:
    assert slug("../Tiny Net/ä b") == "tiny-net-b"


def test_failures_are_the_last_ones_of_stages_that_are_not_done(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(1, 12):  # 11 is newer than 9, though not by name
        folder = store.new_attempt("train", NAME, KEY, {})
        store.fail(folder, failure(folder, f"failure {number}", float(number)))
    other = store.new_attempt("train", NAME, OTHER, {})
    store.fail(other, failure(other, "earlier", 0.5, OTHER))
    assert [found.message for found in Store(tmp_path).failures()] == ["earlier", "failure 11"]

    store.new_attempt("train", NAME, OTHER, {})  # tried again, and not failed so far
    assert [found.message for found in Store(tmp_path).failures()] == ["failure 11"]
    store.commit(attempt(store), record(attempt=12))
    assert Store(tmp_path).failures() == []


def test_a_failed_attempt_does_not_block_the_next(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = attempt(store)
    store.fail(first, failure(first, "out of luck", 1.0))
    store.commit(attempt(store), record(attempt=2))
    assert Store(tmp_path).record(KEY) is not None


def test_events_come_back_in_order(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert list(store.events()) == []
    for number in range(3):
        store.append_event({"number": number})
    assert [event["number"] for event in Store(tmp_path).events()] == [0, 1, 2]


def test_a_torn_event_is_left_out_and_those_after_it_are_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append_event({"number": 0})
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'{"number": 1, "na')
    assert [event["number"] for event in store.events()] == [0]
    store.append_event({"number": 2})
    store.append_event({"number": 3})
    assert [event["number"] for event in store.events()] == [0, 2, 3]


def test_a_moved_store_still_reads(tmp_path: Path) -> None:
    store = Store(tmp_path / "here")
    committed = store.commit(attempt(store), record())
    store.write_plan(plan(KEY))
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = Store(tmp_path / "there")
    assert moved.records() == {KEY: committed}
    assert moved.out(KEY).is_relative_to(tmp_path / "there")
    assert len(moved.plans()) == 1
    assert str(tmp_path) not in "".join(path.read_text() for path in moved.root.rglob("*.json"))


def plan(*keys: str, started_unix_s: float = 1.0) -> StoredPlan:
    stages = [PlannedStage(key=key, kind="train", name=NAME, labels=LABELS) for key in keys]
    return StoredPlan(argv=["sweep"], started_unix_s=started_unix_s, stages=stages)


def test_a_plan_is_kept_once_with_its_last_sweep_and_plans_come_oldest_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for keys, started in (((KEY,), 1.0), ((KEY, OTHER), 2.0), ((KEY,), 3.0)):
        store.write_plan(plan(*keys, started_unix_s=started))
    assert [(len(found.stages), found.started_unix_s) for found in store.plans()] == [(2, 2.0), (1, 3.0)]


def test_a_second_driver_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    def hold(root: Path, ready: Any, finish: Any) -> None:
        lock = Store(root).open_for_writing()
        ready.set()
        finish.wait()
        del lock

    context = multiprocessing.get_context("fork")
    ready, finish = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(tmp_path / "store", ready, finish))
    holder.start()
    try:
        assert ready.wait(60)
        with pytest.raises(StoreError, match="another sweep is at work in this store"):
            Store(tmp_path / "store").open_for_writing()
        holder.kill()  # the operating system frees the lock, however a driver ends
        holder.join()
        with Store(tmp_path / "store").open_for_writing():
            pass
    finally:
        holder.kill()
        holder.join()


def test_reading_a_store_that_is_not_there_creates_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert (store.record(KEY), store.records(), store.failures()) == (None, {}, [])
    assert (store.plans(), list(store.events())) == ([], [])
    assert not store.root.exists()


def test_a_store_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for root in (Path("/dev/null/store"), file, file / "store", Path("/proc/store")):
        with pytest.raises(StoreError, match="give another --store"):
            Store(root).open_for_writing()
    assert file.read_bytes() == b""


@pytest.mark.parametrize("root", ["s3://bucket/sweeps", "gs://bucket", "https://host/store"])
def test_an_address_is_no_folder(root: str) -> None:
    with pytest.raises(StoreError, match="mounted file system"):
        Store(root)
    with pytest.raises(StoreError, match="mounted file system"):
        Store(Path(root))  # the command line makes a path of it, and a path joins slashes


@pytest.mark.parametrize("content", ["", "{", '{"key": 1}', "[]"])
def test_a_damaged_record_is_named_with_the_remedy(tmp_path: Path, content: str) -> None:
    store = Store(tmp_path)
    folder = attempt(store).parent.parent
    (folder / "record.json").write_text(content)
    for read in (Store(tmp_path).records, lambda: Store(tmp_path).record(KEY)):
        with pytest.raises(StoreError, match="no valid record") as caught:
            read()
        assert str(folder / "record.json") in str(caught.value)
        assert "remove it" in str(caught.value)
