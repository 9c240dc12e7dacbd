"""Sweeps into a bucket, and two sweeps on one store: the same bits as alone in a folder, and no secret anywhere."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import pytest

from analysis import report
from orchestrator import gc, search, status, why
from orchestrator.store import Store
from tests.orchestrator.store.stores import invoke
from tests.support import small_sweeps
from tests.support.google_storage import TOKEN
from tests.support.sweep_processes import (
    Hold,
    assert_same_results,
    brought,
    finish,
    in_process,
    kill_all,
    run,
    start,
    wait_for,
)
from workers.storage import Bucket, open_storage

pytestmark = pytest.mark.slow(seconds=70)

SECRET = "planted-secret"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = {**small_sweeps.TWO_ROUNDS, "methods": ["aws"]}
    return small_sweeps.prepare(tmp_path_factory.mktemp("buckets"), **recipe)


def options(folder: Path, store: object, *more: object) -> list[object]:
    return small_sweeps.options(folder, store, "--backend", "inline", "--device", "cpu", *more)


@pytest.fixture(scope="module")
def alone(folder: Path) -> Path:
    """The store of an undisturbed sweep."""
    code, output = in_process(*options(folder, folder / "alone"))
    assert code == 0, output
    return folder / "alone"


def holding(secret: str, folder: Path) -> list[Path]:
    """The files whose content or name holds a secret."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if secret in str(path) or secret.encode() in path.read_bytes()]


@pytest.mark.parametrize("service", ["s3", pytest.param("gs", marks=pytest.mark.long)])
def test_a_sweep_into_a_bucket_gives_the_bits_of_one_into_a_folder(
    folder: Path,
    alone: Path,
    service: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    url = f"{request.getfixturevalue(service)}/{uuid4()}"
    code, output = run(*options(folder, url))
    assert code == 0, output
    assert f"Report: {url}/report.html" in output
    requests: list[str] = []
    call = Bucket._call

    def count(self: Bucket, function: Callable[..., object], *arguments: object, **options: object) -> object:
        requests.append(f"{function.__name__} {arguments}"[:80])
        return call(self, function, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "_call", count)
        code, again = in_process(*options(folder, url))
    assert code == 0, again
    assert "Nothing to compute" in again
    assert sum(request.startswith("list") and "'stages'" in request for request in requests) == 1
    assert not [request for request in requests if request.startswith("get") and "stages/" in request]
    assert len(requests) <= 15  # however many stages there are

    copy = brought(url, tmp_path / "copy")
    assert_same_results(alone, copy)
    assert len(Store(copy).records()) == len(Store(alone).records())
    assert "patterns" in (copy / "report.html").read_text()
    assert not list(copy.rglob("checkpoint"))
    assert not list(copy.glob("drivers/*"))
    for secret in (SECRET, TOKEN):
        assert holding(secret, copy) == []
        assert secret not in output + again


def test_a_failed_stage_leaks_no_secret(folder: Path, s3: str, tmp_path: Path) -> None:
    url = f"{s3}/{uuid4()}"
    code, output = run(*options(folder, url, "--set", "optimizer.learning_rate=1e30"))
    assert code == 1, output
    copy = brought(url, tmp_path / "copy")
    (failure, *_) = Store(copy).failures()
    assert failure.error_type == "DivergedError"
    assert "DivergedError" in (copy / failure.log).read_text()
    assert {path.name for path in copy.iterdir()} >= {"stages", "plans", "events", "report.html"}
    outputs = [invoke(app, url, *more)[1] for app, more in ((status.app, []), (why.app, [failure.name]), (gc.app, []))]
    assert holding(SECRET, copy) == []
    assert SECRET not in "".join([output, *outputs])


@pytest.mark.parametrize("url", ["s3://key:planted-secret@bucket/p", "s3://bucket/p?token=planted-secret"])
def test_a_store_with_a_secret_in_its_url_is_refused_before_anything_is_written(
    url: str, folder: Path, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = open_storage(s3).listing()
    refused = [
        in_process(*options(folder, url)),
        in_process(*options(folder, url, "--plan")),
        invoke(status.app, url),
        invoke(report.app, url),
        invoke(search.app, "--dataset", "mnist1d", "--store", url),
    ]
    for code, output in refused:
        assert code == 2, output
        assert output.count("\n") == 1, output
        assert "holds a user, a password or a query" in output
        assert SECRET not in output
    assert open_storage(s3).listing() == before
    assert list(tmp_path.iterdir()) == []


def test_a_killed_sweep_into_a_bucket_resumes_from_its_checkpoint(
    folder: Path, alone: Path, s3: str, tmp_path: Path
) -> None:
    url = f"{s3}/{uuid4()}"
    # the plugin counts records in a folder, so it holds the first stage
    hold = Hold.at(tmp_path / "held", tmp_path, records=0)
    arguments = options(folder, url, "--checkpoint-interval", 0)
    process = start(*arguments, "--plugin", hold.plugin)
    try:
        wait_for(hold.is_held, process)
    finally:
        kill_all(process)
    assert [path for path in open_storage(url).listing() if "/checkpoint/" in path]
    hold.let_go()
    code, output = in_process(*arguments)
    assert code == 0, output
    copy = brought(url, tmp_path / "copy")
    assert_same_results(alone, copy)
    assert sorted(record.attempt for record in Store(copy).records().values())[-1] == 2


@pytest.mark.long  # test_faults.py has two drivers as well
@pytest.mark.parametrize("service", ["folder", "s3"])
def test_two_sweeps_on_one_store_share_the_work(
    folder: Path, alone: Path, service: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = tmp_path / "store"
    url = store if service == "folder" else f"{request.getfixturevalue(service)}/{uuid4()}"
    sweeps = [start(*options(folder, url)) for _ in range(2)]
    try:
        ended = [finish(process) for process in sweeps]
    finally:
        for process in sweeps:
            kill_all(process)
    for code, output in ended:
        assert code == 0, output
    if url != store:
        brought(str(url), store)
    assert_same_results(alone, store)
    assert len(Store(store).records()) == len(Store(alone).records())
    started = sum(output.count("] done ") for _, output in ended)
    assert started == len(Store(store).records())  # each stage was done once, by one of the two
    assert all("] done " in output for _, output in ended)
    assert all(record.attempt == 1 for record in Store(store).records().values())
    assert not list(store.glob("stages/*/*/attempts/2"))


def test_a_network_of_timm_is_swept_into_a_bucket_as_into_a_folder(tmp_path: Path, s3: str) -> None:
    pytest.importorskip("timm")
    recipe = small_sweeps.prepare(tmp_path / "recipe", **{**small_sweeps.ONE_ROUND, "model": {}, "twins": []})
    network = (
        "--archs",
        "timm:test_resnet",
        "--set",
        "model.drop_path_rate=0.1",
        "--set",
        "model.zero_init_last=false",
    )
    url = f"{s3}/{uuid4()}"
    for store in (tmp_path / "alone", url):
        code, output = in_process(*options(recipe, store, *network))
        assert code == 0, output
    copy = brought(url, tmp_path / "copy")
    assert_same_results(tmp_path / "alone", copy)
    (record, *_) = Store(copy).records().values()
    assert record.labels.architecture == "timm:test_resnet"
    assert record.science["setting"]["model"]["options"]["timm"] == version("timm")
    code, output = in_process(*options(recipe, url, *network))
    assert (code, "Nothing to compute" in output) == (0, True)
