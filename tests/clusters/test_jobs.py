"""`ray job submit -- python -m orchestrator.sweep …`, and a driver that takes over from one that was killed. Slow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.terminal.arguments import RAY_JOB_MARK, cluster_of_this_job
from tests.clusters.heads import PLAIN_PATH, environment, head, sweep_command
from tests.clusters.stand_ins import ROOT, free_port
from tests.support.small_sweeps import STAGES_OF_ONE_ROUND
from tests.support.sweep_processes import Hold, record_times, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow(seconds=20)]


def test_a_sweep_joins_a_cluster_unasked_only_inside_a_ray_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    monkeypatch.delenv(RAY_JOB_MARK, raising=False)
    assert cluster_of_this_job() is None
    monkeypatch.setenv(RAY_JOB_MARK, "{}")
    assert cluster_of_this_job() == "127.0.0.1:6379"


class Jobs:
    """The command line of Ray's jobs, at one head."""

    def __init__(self, address: str, environment: dict[str, str]) -> None:
        self.address, self.environment = address, environment

    def ray(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ray.scripts.scripts", "job", arguments[0], "--address", self.address]
        return subprocess.run(
            [*command, *arguments[1:]], cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=150
        )

    def submit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Wait for the head's agent, which starts seconds after the head reports that it runs."""
        for _ in range(10):
            done = self.ray("submit", *arguments)
            if "No available agent" not in done.stderr:
                break
            time.sleep(1)
        return done


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    folder = tmp_path_factory.mktemp("jobs")
    ours = environment(folder / "home")
    port = free_port()
    start = ["--num-cpus=2", f"--port={free_port()}", f"--dashboard-port={port}"]
    with head(ours, folder / "head.txt", *start):
        yield Jobs(f"http://127.0.0.1:{port}", ours)


def test_a_client_without_the_token_cannot_submit_a_job(jobs: Jobs, tmp_path: Path) -> None:
    stranger = Jobs(jobs.address, {**jobs.environment, "RAY_AUTH_TOKEN": "0" * 64})
    done = stranger.ray("submit", "--", "touch", str(tmp_path / "touched"))
    assert done.returncode != 0
    assert "AuthenticationError" in done.stderr or "token" in done.stderr, done.stderr
    assert not (tmp_path / "touched").exists()


@PLAIN_PATH
@pytest.mark.long
def test_a_resubmitted_sweep_resumes_after_its_driver_was_killed(jobs: Jobs, tmp_path: Path) -> None:
    store = tmp_path / "sweep" / "store"
    hold = Hold.at(tmp_path / "held", store, records=2)
    command = sweep_command(tmp_path / "sweep", "--plugin", hold.plugin)
    first = jobs.submit("--no-wait", "--submission-id", "first", "--", *command)
    assert first.returncode == 0, first.stdout + first.stderr
    wait_for(hold.is_held)
    before = record_times(store)
    assert 2 <= len(before) < STAGES_OF_ONE_ROUND
    os.kill(driver_pid(store), signal.SIGKILL)  # its tasks die with it
    hold.let_go()

    second = jobs.submit("--submission-id", "second", "--", *command)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "succeeded" in second.stdout
    after = record_times(store)
    assert len(after) == STAGES_OF_ONE_ROUND
    assert before.items() <= after.items()  # nothing was done twice
    assert "Report:" in second.stdout
    assert (store / "report.html").exists()
    status = jobs.ray("status", "first")
    assert "failed" in status.stdout.lower()


def driver_pid(store: Path) -> int:
    """Find the sweep of a store by its command line; return its process ID."""
    pids = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if (words := command_line(path))[1:3] == ["-m", "orchestrator.sweep"] and str(store) in words
    ]
    (pid,) = pids
    return pid


def command_line(path: Path) -> list[str]:
    try:
        return path.read_text().split("\0")
    except OSError:  # ended meanwhile
        return []
