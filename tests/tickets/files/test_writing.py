"""Files appear whole: a reader sees all of a file or none, and one of several creators succeeds."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tickets.files.writing import replacing, write_atomically


def test_a_link_that_was_made_though_its_answer_was_lost_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def as_nfs_does(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError(17, "File exists")

    monkeypatch.setattr("os.link", as_nfs_does)
    write_atomically(tmp_path / "claim.json", b"mine", exclusive=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]


def test_an_exclusive_write_never_replaces(tmp_path: Path) -> None:
    write_atomically(tmp_path / "record.json", b"first", exclusive=True)
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "record.json", b"second", exclusive=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"first"]


@pytest.mark.parametrize("call", ["os.link", "os.fsync"])
def test_a_failed_write_leaves_neither_file_nor_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(call, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "record.json", b"content", exclusive=True)
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


def test_a_reader_sees_all_of_a_file_or_the_one_before(tmp_path: Path) -> None:
    path, large = tmp_path / "plan.json", 1 << 20
    write_atomically(path, b"0" * large)
    contents: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            content = path.read_bytes()
            contents.add(content[:1] + content[-1:] + str(len(content)).encode())

    reader = threading.Thread(target=read)
    reader.start()
    for round_ in range(20):
        write_atomically(path, str(round_ % 2).encode() * large)
    done.set()
    reader.join()
    assert contents <= {b"00%d" % large, b"11%d" % large}


def test_a_writer_by_path_replaces_the_file_when_it_has_ended(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("before")
    with replacing(tmp_path / "page.html") as partial:
        partial.write_text("after")
        assert partial.suffix == ".html"
        assert (tmp_path / "page.html").read_text() == "before"
    with pytest.raises(UnicodeEncodeError), replacing(tmp_path / "page.html") as partial:
        partial.write_text("torn \ud800", encoding="utf-8")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("page.html", "after")]
