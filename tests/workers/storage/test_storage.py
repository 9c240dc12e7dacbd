"""A store's files: whole or absent for every reader, and created by one of several writers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest

from tests.support.google_storage import PAGE, GoogleStorage
from workers.storage import Storage, StorageError, open_storage

Found = TypeVar("Found")


@pytest.fixture(params=["folder", "s3", "gs"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return open_storage(tmp_path / "store")
    return open_storage(f"{request.getfixturevalue(request.param)}/{uuid4()}/deeper")


def test_files_are_written_read_listed_moved_and_removed(storage: Storage, tmp_path: Path) -> None:
    assert storage.listing() == {}
    assert storage.folder is not None or not storage.exists()
    storage.write("a/b/one.json", b"1")
    assert storage.exists()
    storage.write("a/b/one.json", b"11")
    storage.write("a/two.json", b"2")
    storage.write("ab/three.json", b"3")
    assert {path: entry.size_bytes for path, entry in storage.listing("a").items()} == {
        "a/b/one.json": 2,
        "a/two.json": 1,
    }
    storage.move("a/two.json", "c/four.json")
    source = tmp_path / "source"
    source.write_bytes(b"5" * 1000)
    storage.upload(source, "c/five")
    storage.download("c/five", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"5" * 1000
    storage.remove(["a/b/one.json", "not/there"])
    assert sorted(storage.listing()) == ["ab/three.json", "c/five", "c/four.json"]
    assert storage.read("c/four.json") == b"2"


def test_a_link_that_leads_nowhere_hides_no_file_and_is_named(tmp_path: Path) -> None:
    for name in "abcdefgh":
        (tmp_path / name).touch()
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to("loop")
    storage = open_storage(tmp_path)
    assert set(storage.listing()) == {*"abcdefgh", "gone", "loop"}
    assert storage.irregular() == dict.fromkeys(("gone", "loop"), "is a link that leads nowhere")


def test_a_changed_file_has_another_version(storage: Storage) -> None:
    storage.write("file", b"1")
    before = storage.listing()["file"]
    storage.write("file", b"2")
    assert storage.listing()["file"].version != before.version


def test_a_missing_file_raises_file_not_found(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read("nothing")
    with pytest.raises(FileNotFoundError):
        storage.download("nothing", tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        storage.move("nothing", "something")
    assert storage.listing() == {}


def test_a_file_is_created_once(storage: Storage) -> None:
    storage.create("record.json", b"first")
    with pytest.raises(FileExistsError):
        storage.create("record.json", b"second")
    assert storage.read("record.json") == b"first"


def test_of_concurrent_creators_one_succeeds(storage: Storage) -> None:
    start, created, refused = threading.Barrier(8), list[int](), list[int]()

    def create(number: int) -> None:
        start.wait()
        try:
            storage.create("record.json", str(number).encode())
            created.append(number)
        except FileExistsError:
            refused.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(created) == 1
    assert len(refused) == 7
    assert storage.read("record.json") == str(created[0]).encode()


@pytest.mark.parametrize("service", ["s3", "gs"])
def test_a_missing_bucket_is_named(service: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(service)
    nowhere = open_storage(f"{service}://no-such-bucket/x")
    calls: list[Callable[[], object]] = [
        lambda: nowhere.write("a", b""),
        lambda: nowhere.create("a", b""),
        lambda: nowhere.read("a"),
        lambda: nowhere.move("a", "b"),
        nowhere.exists,
        nowhere.listing,
    ]
    for call in calls:
        with pytest.raises(StorageError, match=r"^[^\n]*no-such-bucket/x: there is no such bucket$"):
            call()


def test_a_bucket_that_refuses_says_so_in_one_line_at_once(
    google: GoogleStorage, gs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "of-somebody-else")
    refusing = open_storage(f"{gs}/x")
    for call in (lambda: refusing.write("a", b""), refusing.listing):
        google.asked.clear()
        with pytest.raises(StorageError, match="401") as caught:
            call()
        assert "\n" not in str(caught.value)
        assert "of-somebody-else" not in str(caught.value)
        assert len(google.asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:topsecret@bucket/p",
        "S3://key:topsecret@bucket/p",
        "s3://key:top/topsecret@bucket/p",
        "s3://topsecret@bucket",
        "gs://bucket/p?token=topsecret",
        "az://container/p#topsecret",
        "https://user:topsecret@host/p",
        "HTTPS://user:topsecret@host/p",
    ],
)
@pytest.mark.parametrize("kind", [str, Path])
def test_a_secret_in_a_url_is_refused_and_not_repeated(
    url: str, kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match="holds a user, a password or a query") as caught:
        open_storage(kind(url))
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_path_in_a_bucket_may_have_any_name(s3: str) -> None:
    storage = open_storage(f"{s3}/{uuid4()}/you@home:1")
    storage.write("a", b"1")
    assert storage.read("a") == b"1"


def test_no_path_leads_out_of_a_folder(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "store")
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    for path in ("../outside", "a/../../outside", str(outside)):
        for call in (
            lambda path: storage.read(path),
            lambda path: storage.write(path, b""),
            lambda path: storage.create(f"{path}2", b""),
            lambda path: storage.listing(path),
            lambda path: storage.remove([path]),
            lambda path: storage.move(path, "here"),
            lambda path: storage.upload(outside, f"{path}2"),
            lambda path: storage.download(path, tmp_path / "copy"),
        ):
            with pytest.raises(StorageError, match="is no path in"):
                call(path)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("outside", b"mine")]


def test_removal_skips_missing_files(storage: Storage) -> None:
    for name in ("a", "c"):
        storage.write(name, b"")
    storage.remove(["a", "b", "c"])  # GCS tells of b, and the client stops at it
    assert storage.listing() == {}
    storage.remove([])


def test_a_listing_of_many_pages_is_whole(gs: str) -> None:
    storage = open_storage(f"{gs}/{uuid4()}")
    names = [f"{number:03}" for number in range(3 * PAGE)]
    for name in names:
        storage.write(f"a b&c/{name}", name.encode())
    assert sorted(storage.listing("a b&c")) == [f"a b&c/{name}" for name in names]


def test_a_large_file_goes_up_in_parts(google: GoogleStorage, gs: str, tmp_path: Path) -> None:
    storage, source = open_storage(f"{gs}/{uuid4()}"), tmp_path / "weights.safetensors"
    source.write_bytes(b"0123456789abcdef" * (1 << 19))
    google.asked.clear()
    storage.upload(source, "weights.safetensors")
    assert sum("partNumber=" in request for request in google.asked) > 1
    storage.download("weights.safetensors", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("request_", [1, 2])
@pytest.mark.parametrize("fate", [429, 503, "lost"])
def test_requests_survive_temporary_refusals_and_lost_answers(
    google: GoogleStorage, gs: str, fate: int | str, request_: int
) -> None:
    """The first or second request of a call meets the fate. 429: GCS allows about one write of an object per second."""
    storage = open_storage(f"{gs}/{uuid4()}")

    def disturbed(call: Callable[..., Found], *arguments: object) -> Found:
        google.fates[:] = [None] * (request_ - 1) + [fate]
        try:
            return call(*arguments)
        finally:
            google.fates.clear()

    disturbed(storage.create, "a", b"mine")
    with pytest.raises(FileExistsError):
        disturbed(storage.create, "a", b"another's")
    disturbed(storage.write, "b", b"2")
    assert disturbed(storage.read, "b") == b"2"
    assert disturbed(storage.exists)
    disturbed(storage.move, "a", "c")
    assert sorted(disturbed(storage.listing)) == ["b", "c"]
    disturbed(storage.remove, ["b", "c"])
    assert storage.listing() == {}


def test_a_broken_download_is_repeated(google: GoogleStorage, gs: str, tmp_path: Path) -> None:
    storage = open_storage(f"{gs}/{uuid4()}")
    storage.write("a", b"0123456789" * 100)
    google.fates[:] = ["cut"]
    assert storage.read("a") == b"0123456789" * 100
    google.fates[:] = ["cut"]
    storage.download("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"0123456789" * 100
    google.fates[:] = ["cut"]
    assert list(storage.listing()) == ["a"]
    google.fates[:] = ["cut"]
    assert storage.exists()
    assert not google.fates


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
@pytest.mark.parametrize("server", ["127.0.0.1:9000", "minio", "ftp://minio", "http:/minio", "https://"])
def test_a_server_without_its_scheme_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, server: str) -> None:
    monkeypatch.setenv(variable, server)
    with pytest.raises(StorageError, match=f"s3://bucket/x: {variable} needs http:// or https:// in front"):
        open_storage("s3://bucket/x")


def test_a_panic_of_the_client_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import obstore.store

    class PanicException(BaseException):
        """As pyo3 raises it, below BaseException."""

    def panic(*_: object, **__: object) -> None:
        raise PanicException("called `Result::unwrap()` on an `Err` value\nsecond line")

    monkeypatch.setattr(obstore.store, "from_url", panic)
    with pytest.raises(
        StorageError, match=r"cannot use these settings: called `Result::unwrap\(\)` on an `Err` value$"
    ):
        open_storage("s3://bucket/x")
