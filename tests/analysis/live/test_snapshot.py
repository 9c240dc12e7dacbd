"""A store read through a snapshot: the same frames, and of each file's content one reading."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis import load
from analysis.live.snapshot import Snapshot
from tests.analysis.conftest import SyntheticStore
from tickets.files.reading import MOST_BYTES
from workers.storage import Entry, Folder


class Counting(Folder):
    """A folder that records every read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: list[str] = []

    def read(self, path: str, most_bytes: int = MOST_BYTES, *, end: bool = False) -> bytes:
        self.asked.append(path)
        return super().read(path, most_bytes, end=end)

    def listing(self, prefix: str = "") -> dict[str, Entry]:
        self.asked.append(f"listing {prefix}")
        return super().listing(prefix)


def test_only_new_files_are_read_again(sweep: SyntheticStore) -> None:
    sweep.plan(("late", "a" * 32))
    storage = Counting(sweep.root)
    snapshot = Snapshot(storage)
    snapshot.take()
    pd.testing.assert_frame_equal(load(snapshot.store()).stages, load(sweep.root).stages)
    first, storage.asked = storage.asked, []
    assert first.count("listing ") == 1
    assert len([path for path in first if path.endswith("record.json")]) == 75
    load(snapshot.store())
    # an index, or copies, that are not there are asked for each time
    assert [path for path in storage.asked if not path.startswith(("index.jsonl", "copies/"))] == []
    sweep.train("dense", 78.0, seed=9)
    storage.asked.clear()
    assert len(load(snapshot.store()).stages) == 75  # as it was listed
    snapshot.take()
    assert len(load(snapshot.store()).stages) == 76
    read = [path for path in storage.asked if not path.startswith(("index.jsonl", "listing ", "copies/"))]
    assert len(read) == 1
    assert read[0].endswith("/record.json")


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    snapshot = Snapshot(Folder(tmp_path))
    (tmp_path / "log").write_text("one")
    snapshot.take()
    assert snapshot.read("log") == b"one"
    (tmp_path / "log").write_text("one and two")
    assert snapshot.read("log") == b"one"
    snapshot.take()
    assert snapshot.read("log") == b"one and two"


def test_a_snapshot_cannot_write(sweep: SyntheticStore) -> None:
    store = Snapshot(Folder(sweep.root)).store()
    with pytest.raises(AttributeError):
        store.storage.write("plans/x.json", b"")
