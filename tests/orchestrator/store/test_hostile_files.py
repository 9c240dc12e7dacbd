"""Files of a store that somebody else wrote: bounded values, regular files below the root, and no circle of inputs."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.store import Store, StoreError
from orchestrator.store.events import read_events
from orchestrator.store.record import Claim, Record, in_circles, read_valid
from tests.orchestrator.store.test_store import KEY, OTHER, attempt, record
from tickets.files.reading import UnreadableFileError, parse_json, read_regular
from workers.storage import Folder, open_storage


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of one stage."""
    store = Store(str(tmp_path / "store"))
    store.commit(attempt(store))
    return store


@pytest.mark.parametrize(
    "changes",
    [
        {"finished_unix_s": 1e300},
        {"seconds": -1.0},
        {"attempt": 10**25},
        {"labels": {"dataset": "d", "architecture": "a", "preset": "sound", "chain": 10**30}},
        {"science": {"transfer": "x"}},
        {"science": {"training": [1]}},
        {"science": {"setting": {"data": 5}}},
        {"science": {"setting": {"data": {"image_size": "16"}}}},
        {"science": {"setting": {"precision": [1]}}},
        {"science": {"a": json.loads("[" * 40 + "]" * 40)}},
        {"provenance": {"packages": [1]}},
        {"provenance": {"data": {"splits": {"train": {"images": -1}}}}},
        {"provenance": {"data": {"left_out_files": {".gif": "many"}}}},
        {"provenance": {"data": {"prepared_unix_s": 1e300}}},
        {"results": {"density": "x"}},
        {"results": {"density": 2.0}},
        {"results": {"test_accuracy_percent": {"a": 1}}},
        {"results": {"numbers": 10**400}},
        {"inputs": {"a": KEY}},
        {"out": f"attempts/{'1' * 200}/out"},
        {"out": "attempts/²/out"},
        {"name": "n" * 10_000},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_value_that_no_reader_can_use_is_no_record(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        record(**changes)


def test_a_sealed_record_out_of_bounds_is_damaged_and_leaves_the_others_readable(store: Store) -> None:
    [path] = [path for path in store.storage.listing() if path.endswith("record.json")]
    content = json.loads(store.storage.read(path))
    store.storage.write(path, json.dumps({**content, "finished_unix_s": 1e300}).encode())
    damaged: dict[str, str] = {}
    assert Store(store.root).records(damaged) == {}
    [sentence] = damaged.values()
    assert "is no valid record" in sentence
    with pytest.raises(StoreError, match="is no valid record"):
        Store(store.root).records()


def test_the_stages_of_a_circle_are_found_and_no_others() -> None:
    assert in_circles({"a": ["b"], "b": ["a"], "c": ["a"], "d": [], "e": ["d", "missing"]}) == {"a", "b"}
    chain = {str(number): [str(number - 1)] for number in range(1, 5000)}
    assert in_circles(chain) == set()


def test_records_that_are_inputs_of_each_other_are_damaged(store: Store) -> None:
    for key, other in ((KEY, OTHER), (OTHER, KEY)):
        store.locate("train", "tiny/resnet1d/dense/seed1", key)
        sealed: Record = record(key, inputs={"a": other}).sealed()
        store.storage.write(
            f"{Store(store.root).folder(key) if key == KEY else store.folder(key)}/record.json",
            sealed.model_dump_json().encode(),
        )
    damaged: dict[str, str] = {}
    assert Store(store.root).records(damaged) == {}
    assert len(damaged) == 2
    assert all("an input of its own inputs" in sentence for sentence in damaged.values())


def test_a_pipe_a_socket_and_a_folder_are_never_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path has at most 107 characters
    os.mkfifo("pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for name in ("pipe", "folder", "socket"):
            with pytest.raises(UnreadableFileError, match=f"{name} is "):
                read_regular(tmp_path / name)
    assert read_valid(Claim, Folder(tmp_path), ["pipe"]) == {}


@pytest.mark.parametrize("place", ["plans", "events"])
def test_a_pipe_in_a_store_hides_nothing_else(store: Store, place: str) -> None:
    (Path(store.root) / place).mkdir(exist_ok=True)
    os.mkfifo(Path(store.root) / place / "zz.json")
    assert len(Store(store.root).records()) == 1
    assert Store(store.root).plans() == []
    assert list(read_events(Store(store.root).storage)) == []


def test_nothing_is_read_or_written_through_a_link_out_of_the_root(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "secret").write_text("secret")
    (root / "stages").symlink_to(outside)
    (root / "log.txt").symlink_to(outside / "secret")
    storage = open_storage(root)
    for act in (
        lambda: storage.read("stages/secret"),
        lambda: storage.read("log.txt"),
        lambda: storage.write("stages/new", b""),
        lambda: storage.create("stages/new", b""),
        lambda: storage.append("log.txt", b"more"),
    ):
        with pytest.raises(UnreadableFileError, match="leads out of the store"):
            act()
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "secret"


def test_a_linked_root_and_links_inside_it_work(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "root")
    storage = open_storage(tmp_path / "linked")
    storage.write("a/file", b"1")
    (tmp_path / "root" / "again").symlink_to("a/file")
    assert storage.read("again") == b"1"


def test_a_file_beyond_its_bound_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no space
    with pytest.raises(UnreadableFileError, match=r"has 1,099,511,627,776 bytes, and at most 67,108,864 are read"):
        read_regular(tmp_path / "huge.json")
    assert read_regular(tmp_path / "huge.json", 10, end=True) == bytes(10)


def test_json_nested_too_deeply_is_no_json() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000 + "]" * 100_000)
