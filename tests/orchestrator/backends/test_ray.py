"""The same sweep through Ray and inline, on real images; a worker that is killed; a Ctrl-C. Slow."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pyarrow.parquet as pq
import pytest

from orchestrator.store import Store
from orchestrator.store.events import read_events
from tests.clusters.heads import program
from tests.support import small_sweeps
from tests.support.images import REAL_CIFAR10, write_images
from tests.support.small_sweeps import ONE_ROUND, STAGES_OF_ONE_ROUND
from tests.support.sweep_processes import (
    Hold,
    assert_same_results,
    brought,
    by_name,
    control_c,
    finish,
    in_process,
    kill_all,
    record_times,
    run,
    start,
    stop_files,
    wait_for,
)

pytestmark = [pytest.mark.ray, pytest.mark.slow(seconds=60)]

# The private Ray of a sweep, as a cluster that others join.
CLUSTER = """
import os, ray, sys
from orchestrator.backends.ray.backend import RayBackend
backend = RayBackend(None, 2, "cpu")
print("ready", ray.get_runtime_context().gcs_address, os.environ["RAY_AUTH_TOKEN"], flush=True)
sys.stdin.read()
backend.close()
"""
ASK = """
import sys
from ray._raylet import GcsClient
print("answered", GcsClient(address=sys.argv[1]).internal_kv_keys(b"", None, 20))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 training and 100 test images in the layout of Hugging Face: of CIFAR-10 if present, else noise."""
    folder = small_sweeps.prepare(tmp_path_factory.mktemp("ray"), **ONE_ROUND)
    (folder / "data" / "cifar10").mkdir(parents=True)
    for split, rows in (("train", 300), ("test", 100)):
        if not REAL_CIFAR10.is_dir():
            write_images(folder / "data" / "cifar10" / f"{split}.parquet", rows)
            continue
        head = next(pq.ParquetFile(REAL_CIFAR10 / f"{split}.parquet").iter_batches(rows))
        with pq.ParquetWriter(folder / "data" / "cifar10" / f"{split}.parquet", head.schema) as writer:
            writer.write_batch(head)
    return folder


def options(folder: Path, store: object, *more: object) -> list[object]:
    places = ["--store", store, "--data-root", folder / "data", "--data-cache", folder / "cache"]
    what = ["--datasets", "cifar10", "--archs", "resnet20", "--recipe", folder / "small.yaml"]
    return [*what, *places, "--device", "cpu", *more]


@pytest.fixture(scope="module")
def inline(folder: Path) -> Path:
    """The store of an undisturbed inline sweep."""
    code, output = in_process(*options(folder, folder / "inline", "--backend", "inline"))
    assert code == 0, output
    return folder / "inline"


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, str]]:
    """Address and token of a cluster of two CPUs on this machine."""
    with program(CLUSTER, strangers_environment()) as (address, token):
        yield address, token


def strangers_environment(**more: str) -> dict[str, str]:
    """The environment of a process without the settings of a sweep's Ray."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("RAY_")}, **more}


@pytest.fixture
def joining(monkeypatch: pytest.MonkeyPatch, cluster: tuple[str, str]) -> list[object]:
    """Options that join the cluster."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", cluster[1])
    return ["--backend", "ray", "--address", cluster[0], "--max-concurrent", 2]


@pytest.mark.parametrize("token", ["0" * 64, None], ids=["wrong token", "no token"])
def test_a_private_ray_answers_to_its_own_token_only(cluster: tuple[str, str], token: str | None) -> None:
    def ask(**environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", ASK, cluster[0]]
        return subprocess.run(command, env=strangers_environment(**environment), capture_output=True, text=True)

    assert ask(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=cluster[1]).stdout.startswith("answered")
    refused = ask(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token) if token else ask(RAY_AUTH_MODE="disabled")
    assert refused.stdout == ""
    assert "AuthenticationError" in refused.stderr


def test_ray_and_inline_give_the_same_keys_and_the_same_bits(
    folder: Path, inline: Path, joining: list[object], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    code, output = run(*options(folder, store, *joining))
    assert code == 0, output
    assert Store(store).records().keys() == Store(inline).records().keys()
    assert len(by_name(inline)) == STAGES_OF_ONE_ROUND
    assert_same_results(inline, store)
    assert (store / "report.html").exists()
    seen = [event["event"] for event in read_events(Store(store).storage)]
    assert any(pair == ("started", "started") for pair in pairwise(seen))  # two at a time


def worker_pid(store: Path, name: str) -> int:
    """The process id of a stage's only attempt, from its log."""
    (log,) = (path for path in store.glob("stages/*/*/attempts/1/log.txt") if f" {name} (" in path.read_text())
    match = re.search(r"pid (\d+)", log.read_text())
    assert match is not None
    return int(match[1])


def running(store: Path) -> str:
    """The stage that a hold stopped: started, not done."""
    events = list(read_events(Store(store).storage))
    ended = {event["key"] for event in events if event["event"] == "done"}
    (name,) = {event["name"] for event in events if event["event"] == "started" and event["key"] not in ended}
    return name


@pytest.mark.long  # test_faults.py kills one as well
def test_a_killed_worker_is_survived(folder: Path, inline: Path, joining: list[object], tmp_path: Path) -> None:
    store = tmp_path / "store"
    hold = Hold.at(tmp_path / "held", store, records=2)
    # one at a time: the stage that waits is the only one that runs
    alone = ["--max-concurrent", 1, "--checkpoint-interval", 0, "--plugin", hold.plugin]
    process = start(*options(folder, store, *joining, *alone))
    try:
        wait_for(hold.is_held, process)
        name = running(store)
        assert list(store.rglob("checkpoint/*.safetensors"))
        os.kill(worker_pid(store, name), signal.SIGKILL)
        hold.let_go()
        code, output = finish(process)
    finally:
        kill_all(process)
    assert code == 0, output
    record = by_name(store)[name]
    assert record.attempt == 2
    first = store / Store(store).folder(record.key) / "attempts" / "1" / "failure.json"
    assert '"cause":"crash"' in first.read_text()
    assert [other.attempt for other in by_name(store).values()].count(1) == len(by_name(store)) - 1
    assert_same_results(inline, store)


@pytest.mark.long
def test_workers_read_and_write_a_bucket(folder: Path, inline: Path, s3: str, tmp_path: Path) -> None:
    url = f"{s3}/{uuid4()}"
    code, output = run(*options(folder, url, "--backend", "ray", "--max-concurrent", 2))
    assert code == 0, output
    copy = brought(url, tmp_path / "copy")
    assert_same_results(inline, copy)
    assert len(by_name(copy)) == STAGES_OF_ONE_ROUND
    assert {record.attempt for record in by_name(copy).values()} == {1}
    assert not list(copy.rglob("checkpoint"))
    logs = [path.read_text() for path in copy.glob("stages/*/*/attempts/1/log.txt")]
    assert len({pid for log in logs for pid in re.findall(r"pid (\d+)", log)}) > 1  # neither is the driver's
    assert "planted-secret" not in output + "".join(logs)


@pytest.mark.long
def test_control_c_checkpoints_stages_on_ray(folder: Path, inline: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    hold = Hold.at(tmp_path / "held", store, records=2)
    private = ["--backend", "ray", "--max-concurrent", 2, "--plugin", hold.plugin]
    process = start(*options(folder, store, *private))  # a terminal sends the Ctrl-C to Ray's processes as well
    try:
        wait_for(hold.is_held, process)
        control_c(process)
        wait_for(lambda: bool(stop_files(store)), process)
        hold.let_go()
        code, output = finish(process)
    finally:
        kill_all(process)
    assert code == 130, output
    assert "Traceback" not in output
    before = record_times(store)
    assert 2 <= len(before) < STAGES_OF_ONE_ROUND
    assert list(store.rglob("checkpoint/*.safetensors"))

    code, output = in_process(*options(folder, store, "--backend", "inline"))  # which is as good as another Ray
    assert code == 0, output
    assert before.items() <= record_times(store).items()
    assert len(record_times(store)) == STAGES_OF_ONE_ROUND
    assert_same_results(inline, store)
