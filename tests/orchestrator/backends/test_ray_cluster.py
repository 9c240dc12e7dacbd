"""A private Ray starts from any folder; an address without a Ray head is refused in seconds."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sweep_processes import in_process

pytestmark = pytest.mark.slow(seconds=50)

ROOT = Path(__file__).parents[3]
ELSEWHERE = "127.0.0.2"  # Ray replaces 127.0.0.1 by the machine's own address


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server((ELSEWHERE, 0)) as server:
        yield server


def join(address: str, cache: Path, tmp_path: Path) -> str:
    """The output of a sweep that refuses to join a cluster at this address."""
    began = time.monotonic()
    what = ["--datasets", "mnist1d", "--store", tmp_path / "store", "--data-cache", cache]
    code, output = in_process(*what, "--backend", "ray", "--address", address)
    assert code == 2, output
    assert time.monotonic() - began < 60  # on a busy machine, with all imports; Ray itself takes minutes
    assert not (tmp_path / "store").exists()
    return output


WORKER_WITH_SETTINGS = """
import os
import ray
from orchestrator.backends.ray.cluster import connect, disconnect

connect(None, 1)

@ray.remote(runtime_env={"env_vars": {"SETTING": "seen"}})
def settings():
    import os
    return os.environ["SETTING"], os.nice(0)

print(*ray.get(settings.remote(), timeout=90), os.nice(0))
disconnect()
"""


def test_a_private_ray_starts_its_workers_from_a_folder_with_a_space_in_its_name_and_as_urgent_as_itself(
    tmp_path: Path,
) -> None:
    (tmp_path / "an environment").symlink_to(sys.prefix)
    python = tmp_path / "an environment" / "bin" / Path(sys.executable).name
    environment = {**os.environ, "RAY_AUTH_MODE": "token"}
    command = [str(python), "-c", WORKER_WITH_SETTINGS]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=200)
    setting, niceness, of_driver = done.stdout.splitlines()[-1].split()
    assert (setting, niceness) == ("seen", of_driver), done.stderr[-2000:]


@pytest.mark.parametrize("host", ["127.0.0.1", ELSEWHERE])
def test_an_address_where_nothing_listens_is_refused(host: str, cache: Path, tmp_path: Path) -> None:
    with socket.create_server((host, 0)) as server:
        port = server.getsockname()[1]
    assert f"Ray at {host}:{port}: no head answers at " in join(f"{host}:{port}", cache, tmp_path)


def test_a_port_that_accepts_and_stays_silent_is_refused(listening: socket.socket, cache: Path, tmp_path: Path) -> None:
    address = f"{ELSEWHERE}:{listening.getsockname()[1]}"
    assert f"no head answers at {address} (timed out)" in join(address, cache, tmp_path)


def test_a_server_of_another_kind_is_refused(listening: socket.socket, cache: Path, tmp_path: Path) -> None:
    def answer() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    threading.Thread(target=answer, daemon=True).start()
    address = f"{ELSEWHERE}:{listening.getsockname()[1]}"
    assert f"the server at {address} is no Ray head" in join(address, cache, tmp_path)
