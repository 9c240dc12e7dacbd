"""Ray heads on loopback, with tiny sweeps to run on them."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clusters.stand_ins import ROOT, free_port
from tests.support.small_sweeps import ONE_ROUND, options, prepare
from tests.support.sweep_processes import wait_for

PLAIN_PATH = pytest.mark.skipif(
    shlex.quote(sys.executable) != sys.executable,
    reason="a Ray cluster starts some workers by commands in which it quotes no path: docs/clusters.md",
)
READY = "ready"
"""Begins each line that a program prints for the test, among Ray's own lines."""


def sweep_command(folder: Path, *more: object) -> list[str]:
    """That of a sweep of eight stages, which take a second each; its files lie in the folder, its store too."""
    prepare(folder, **ONE_ROUND)
    command = [sys.executable, "-m", "orchestrator.sweep", *options(folder, folder / "store", *more)]
    return [str(part) for part in command]


def environment(home: Path, **more: str) -> dict[str, str]:
    """That of a process that knows of no other Ray, with a token of its own."""
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_"))}
    ours = {"HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "300", "NO_COLOR": "1"}
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return {**kept, **ours, **token, "RAY_USAGE_STATS_ENABLED": "0", **more}


@contextmanager
def head(environment: dict[str, str], log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """``ray start --head --block``; afterwards the head and its children are asked to end."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    variables = {**environment, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
    ports = [f"--dashboard-agent-listen-port={free_port()}"]  # of several heads on a machine, one has the default
    memory = ["--object-store-memory=100000000", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *memory, *ports, *arguments],
            cwd=ROOT,
            env=variables,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for(lambda: "Ray runtime started" in log.read_text(), process, log)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextmanager
def program(source: str, environment: dict[str, str]) -> Iterator[list[str]]:
    """Python that starts a cluster, prints a line of words and reads its input; the words. Afterwards it may end."""
    process = subprocess.Popen(
        [sys.executable, "-c", source], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield next(line.split()[1:] for line in process.stdout if line.startswith(READY))
    finally:
        process.communicate()
