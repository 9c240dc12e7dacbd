"""A storage that repeats failing calls: which errors it repeats, which are answers, and when it gives up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.store import StoreError
from orchestrator.store.retrying import RetryingStorage
from workers.storage import Folder, UnreadableFileError

FULL = OSError(28, "No space left on device")


class FailingFolder(Folder):
    """The first calls fail, either before or after their work is done."""

    def __init__(self, root: Path, failures: int, *, does_its_work: bool = False) -> None:
        super().__init__(root)
        self.failures, self.does_its_work, self.error = failures, does_its_work, FULL

    def _fail_first(self, call: Callable[[], Any]) -> Any:
        if not self.failures:
            return call()
        self.failures -= 1
        if self.does_its_work:
            call()
        raise self.error

    def write(self, path: str, content: bytes, *, durable: bool = True) -> None:
        self._fail_first(lambda: super(FailingFolder, self).write(path, content, durable=durable))

    def create(self, path: str, content: bytes, *, durable: bool = True) -> None:
        self._fail_first(lambda: super(FailingFolder, self).create(path, content, durable=durable))

    def move(self, path: str, to: str) -> None:
        self._fail_first(lambda: super(FailingFolder, self).move(path, to))

    def remove(self, paths: Any) -> None:
        doomed = list(paths)
        self._fail_first(lambda: super(FailingFolder, self).remove(doomed))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.store.retrying.time.sleep", lambda seconds: None)


def test_a_call_is_repeated_until_it_succeeds_and_the_outage_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    storage = RetryingStorage(FailingFolder(tmp_path, failures=3), told.append)
    storage.write("a", b"1")
    assert storage.read("a") == b"1"
    assert told == ["The store fails ([Errno 28] No space left on device); trying again for up to 5 min."]


def test_a_call_that_fails_for_too_long_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    storage = RetryingStorage(FailingFolder(tmp_path, failures=10**9), lambda text: None, limit_s=0.01)
    with pytest.raises(StoreError, match="committed stages are safe: mend the store, and repeat the command"):
        storage.write("a", b"1")


def test_a_missing_file_and_one_that_exists_are_answers_and_not_repeated(tmp_path: Path) -> None:
    storage = RetryingStorage(Folder(tmp_path), pytest.fail)
    with pytest.raises(FileNotFoundError):
        storage.read("a")
    with pytest.raises(FileNotFoundError):
        storage.move("a", "b")
    storage.create("a", b"1")
    with pytest.raises(FileExistsError):
        storage.create("a", b"1")


def test_a_folder_that_vanishes_during_a_write_is_no_answer(tmp_path: Path) -> None:
    folder = FailingFolder(tmp_path, failures=1)
    folder.error = FileNotFoundError(2, "No such file or directory")
    RetryingStorage(folder, lambda text: None).write("a", b"1")
    assert folder.read("a") == b"1"


def test_a_file_whose_creation_succeeded_without_an_answer_is_created(tmp_path: Path) -> None:
    storage = RetryingStorage(FailingFolder(tmp_path, failures=1, does_its_work=True), lambda text: None)
    storage.create("a", b"mine")
    assert storage.read("a") == b"mine"


def test_a_file_that_another_driver_created_during_an_outage_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    Folder(tmp_path).create("a", b"theirs")
    storage = RetryingStorage(FailingFolder(tmp_path, failures=1), lambda text: None)
    with pytest.raises(FileExistsError):
        storage.create("a", b"mine")
    assert storage.read("a") == b"theirs"


def test_a_move_that_succeeded_without_an_answer_is_made(tmp_path: Path) -> None:
    Folder(tmp_path).create("folder/a", b"1")
    storage = RetryingStorage(FailingFolder(tmp_path, failures=1, does_its_work=True), lambda text: None)
    storage.move("folder/a", "aside/a")
    assert storage.read("aside/a") == b"1"


def test_the_paths_to_remove_may_be_an_iterator(tmp_path: Path) -> None:
    Folder(tmp_path).create("a", b"1")
    storage = RetryingStorage(FailingFolder(tmp_path, failures=2), lambda text: None)
    storage.remove(path for path in ["a"])
    assert storage.listing() == {}


def test_a_stop_ends_the_wait_at_once(tmp_path: Path) -> None:
    told: list[str] = []
    storage = RetryingStorage(FailingFolder(tmp_path, failures=10**9), told.append)
    storage.stopped = lambda: bool(told)  # asked for during the first pause
    with pytest.raises(StoreError, match="No space left"):
        storage.write("a", b"1")


def test_a_folder_in_the_place_of_a_file_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(UnreadableFileError, match="is a folder"):
        RetryingStorage(Folder(tmp_path), pytest.fail).read("a")


def test_a_folder_in_a_files_place_is_an_answer_and_not_repeated(tmp_path: Path) -> None:
    told: list[str] = []
    storage = RetryingStorage(Folder(tmp_path), told.append)
    (tmp_path / "a").mkdir()
    storage.remove(["a"])  # verify sets it aside
    with pytest.raises(UnreadableFileError, match="Is a directory; move away what stands there"):
        storage.write("a", b"1")
    assert told == []
