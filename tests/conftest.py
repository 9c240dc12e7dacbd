"""Fixtures of all tests: a small data set, a data cache of this run only, and servers of buckets on loopback."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.support import google_storage
from tests.support.google_storage import GoogleStorage
from tests.support.registries import registries_kept
from workers.data import Arrays, Source, data_set
from workers.stages import Data, Model, Optimizer, Setting, Training
from workers.stages.execution import Execution

# no deadline, since a shared machine may be slow; derandomized, so that a failure tells of the code and not of luck
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")


ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run fast files first, so that they fail first; then those that start Ray; then the slow ones, longest first."""
    items.sort(key=_place)


def pytest_configure() -> None:
    """Collect no garbage while tests are imported, which leave none: looking for it took a third of that time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage again, but never among what was imported: 600,000 objects that stay to the end."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Let the end of the process find its garbage: nanobind would report what it still sees as leaks."""
    gc.unfreeze()


def _place(item: pytest.Item) -> tuple[bool, bool, float]:
    slow = item.get_closest_marker("slow")
    starts_ray = item.get_closest_marker("ray") is not None
    return slow is not None, not starts_ray, -slow.kwargs["seconds"] if slow else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Give a process one file at a time, for its fixtures; all files that are marked ``ray`` count as one."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return "Ray" if _is_marked_ray(file) else file

    config.option.loadscopereorder = False
    return ByFile(config, log)


@cache
def _is_marked_ray(file: str) -> bool:
    # xdist's scheduler knows names of tests only: the files are collected in other processes
    return "pytest.mark.ray" in (ROOT / file).read_text()


@data_set("tiny", channels=1, num_classes=3)
def find_tiny(data_root: Path | None, downloads: Path) -> Source:
    """230 training and 60 test images of 8x8 pixels: three noisy patterns."""

    def decode() -> Arrays:
        stream = np.random.default_rng(0)
        patterns = stream.integers(0, 256, (3, 1, 8, 8))
        labels = stream.integers(0, 3, 290)
        images = (patterns[labels] * 0.5 + stream.integers(0, 128, (290, 1, 8, 8))).astype(np.uint8)
        return Arrays(images[:230], labels[:230], images[230:], labels[230:])

    return Source("made by the tests", "tiny-1", decode)


@pytest.fixture(autouse=True, scope="module")
def _unknown_to_other_files() -> Iterator[None]:
    with registries_kept():
        yield


@pytest.fixture(autouse=True, scope="module")
def _ray_settings_end_with_the_file() -> Iterator[None]:
    """Restore Ray's variables: after a sweep in this process, a later file's cluster would ask for a token."""
    before = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    yield
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def data_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data-cache")


@pytest.fixture
def execution(data_cache: Path) -> Execution:
    return Execution("cpu", None, str(data_cache))


@pytest.fixture
def setting() -> Setting:
    return Setting("sound", Data("tiny", "tiny-1", 0.1), Model("resnet1d", {"width": 4}))


@pytest.fixture
def training() -> Training:
    return Training(2, 32, Optimizer(0.05))


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Start an S3 server on loopback, also for processes that tests start; yield the URL of its bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "of-the-tests",
        "AWS_SECRET_ACCESS_KEY": "planted-secret",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield "s3://bucket"
    server.stop()


@pytest.fixture(scope="session")
def google() -> Iterator[GoogleStorage]:
    """Start a Google Cloud Storage server on loopback, also for processes that tests start."""
    with google_storage.google_storage() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in google_storage.settings(server).items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def gs(google: GoogleStorage) -> str:
    """Return the URL of a bucket on that server."""
    return f"gs://{google_storage.BUCKET}"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    return
