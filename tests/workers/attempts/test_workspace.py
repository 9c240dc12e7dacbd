"""An attempt's folder beside a bucket: which checkpoints it downloads, and how soon it notices a request to stop."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

import pytest

from workers.attempts import workspace
from workers.attempts.workspace import open_workspace
from workers.storage import Storage, UnreadableFileError, open_storage


@pytest.fixture
def storage(s3: str) -> Storage:
    return open_storage(f"{s3}/{uuid4()}")


def test_the_two_furthest_checkpoints_of_all_earlier_attempts_are_downloaded(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for attempt in range(1, 8):
        for step in (0, 1):
            storage.write(f"stage/attempts/{attempt}/checkpoint/00001-{attempt + step:07d}.safetensors", b"%d" % step)
    downloaded: list[str] = []
    download = type(storage).download
    monkeypatch.setattr(
        type(storage), "download", lambda self, path, to: (downloaded.append(path), download(self, path, to))
    )
    with open_workspace(storage.root, "stage/attempts/9", {}, ()) as space:
        names = sorted(path.name for folder in space.earlier for path in folder.iterdir())
    assert names == ["00001-0000007.safetensors", "00001-0000008.safetensors"]
    assert len(downloaded) == 2


def test_a_checkpoint_removed_after_the_listing_leaves_the_others_usable(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        storage.write(f"stage/attempts/1/checkpoint/00001-{step:07d}.safetensors", b"%d" % step)
    listing = type(storage).listing

    def list_and_remove(self: Storage, prefix: str = "") -> object:
        paths = listing(self, prefix)
        self.remove(path for path in paths if path.endswith("1.safetensors"))
        return paths

    monkeypatch.setattr(type(storage), "listing", list_and_remove)
    with open_workspace(storage.root, "stage/attempts/2", {}, ()) as space:
        assert [path.read_bytes() for folder in space.earlier for path in folder.iterdir()] == [b"2"]


def test_a_request_to_stop_is_noticed_before_the_log_is_uploaded_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "STOP_CHECK_EVERY_S", 0.02)
    monkeypatch.setattr(workspace, "MIRROR_EVERY_S", 1e6)
    with open_workspace(storage.root, "stage/attempts/1", {}, ("drivers/a/stop", "stage/attempts/1/stop")) as space:
        (space.folder / "log.txt").write_text("so far")
        assert not space.stop_asked()
        storage.write("stage/attempts/1/stop", b"drained")
        deadline = time.monotonic() + 60
        while not space.stop_asked():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert "stage/attempts/1/log.txt" not in storage.listing()
    assert storage.read("stage/attempts/1/log.txt") == b"so far"


@pytest.mark.parametrize("name", ["out", "checkpoint", "log.txt", "progress.json"])
def test_an_attempt_never_writes_through_a_link(tmp_path: Path, name: str) -> None:
    outside, attempt = tmp_path / "outside", tmp_path / "store/stage/attempts/2"
    outside.mkdir()
    attempt.mkdir(parents=True)
    (attempt / name).symlink_to(outside)
    with (
        pytest.raises(UnreadableFileError, match=f"{name} is a link"),
        open_workspace(str(tmp_path / "store"), "stage/attempts/2", {}, ()),
    ):
        pass


def test_an_attempts_folder_outside_the_store_is_refused_and_linked_checkpoints_are_not_read(tmp_path: Path) -> None:
    outside, attempts = tmp_path / "outside", tmp_path / "store/stage/attempts"
    (outside / "checkpoint").mkdir(parents=True)
    for number in ("1", "2", "4"):
        (attempts / number).mkdir(parents=True)
    (attempts / "1" / "checkpoint").symlink_to(outside / "checkpoint")
    (attempts / "3").symlink_to(outside)
    with open_workspace(str(tmp_path / "store"), "stage/attempts/4", {}, ()) as space:
        assert space.earlier == (attempts / "2" / "checkpoint",)
    with (
        pytest.raises(UnreadableFileError, match="leads out of the store"),
        open_workspace(str(tmp_path / "store"), "stage/attempts/3", {}, ()),
    ):
        pass
