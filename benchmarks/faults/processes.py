"""Sweeps as processes that start at once: forked from one that has imported everything, and has no other thread."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from benchmarks.faults.namespaces import join_network, mount_small_disk, take_host_name
from benchmarks.faults.small_sweep import Place
from orchestrator.store import Store

START = multiprocessing.get_context("forkserver")
START.set_forkserver_preload(["orchestrator.sweep", "orchestrator.backends.ray.backend", "benchmarks.faults.processes"])
LIMIT_S = 600.0  # of a sweep that takes seconds: on a busy machine, starting a gang anew alone takes minutes
PAUSES_S = (0.5, 2.0)  # before the next try of what is known to pass: a trial does not wait for minutes
LEASES_S = (0.5, 3.0)  # renewed, and stale: likewise


class TrialError(Exception):
    """A sweep that did not do what it must, fault or no fault."""


@dataclass(frozen=True)
class Surroundings:
    """What a sweep sees otherwise than this process.

    Attributes:
        environment: further variables.
        small_disk: a folder that is to be a disk of a few MB, which only the sweep sees; at the end its content is
            copied to the folder ``store`` beside it.
        network: the process whose network it is to have.
        host_name: of the machine that it takes itself to be on, whose leases, and other machines', are short.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    small_disk: Path | None = None
    network: int | None = None
    host_name: str = ""


HERE = Surroundings()


@dataclass
class Sweep:
    """A sweep under way.

    Attributes:
        output: the file with what it prints.
    """

    process: ForkServerProcess
    output: Path

    @classmethod
    def start(cls, arguments: Sequence[str], output: Path, within: Surroundings = HERE) -> Sweep:
        """Start the command."""
        process = START.Process(target=_run, args=[list(arguments), str(output), within])
        process.start()
        return cls(process, output)

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return not self.process.is_alive()

    def reaches(self, batches: int, place: Place) -> bool:
        """Wait until so many training batches have begun; False if the sweep ended before."""
        while place.batches() < batches:
            if self.ended:
                return False
            time.sleep(0.002)
        return True

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """Its exit code; negative: the signal that ended it.

        Raises:
            TrialError: it did not end.
        """
        self.process.join(limit_s)
        code = self.process.exitcode
        if code is None:
            self.kill()
            raise TrialError(f"the sweep did not end within {limit_s:.0f} s:\n{self.text()[-3000:]}")
        return code

    def kill(self) -> None:
        """End it as a power loss does."""
        self.send(signal.SIGKILL)
        self.process.join()

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def text(self) -> str:
        """What it printed."""
        return self.output.read_text() if self.output.exists() else ""


def _run(arguments: list[str], output: str, within: Surroundings) -> None:
    """In the forked process: the command itself, but for its report, which is a process of its own that only reads."""
    import orchestrator.driver.failures
    import orchestrator.session.run
    import orchestrator.store.leases
    import orchestrator.sweep

    written = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    os.dup2(written, 1)
    os.dup2(written, 2)
    os.environ.update(within.environment)
    sys.argv = ["orchestrator.sweep", *arguments]
    orchestrator.driver.failures.PAUSE_S[orchestrator.store.record.Cause.TRANSIENT] = PAUSES_S
    orchestrator.session.run.LiveReport = _NoReport  # type: ignore[misc,assignment]
    if within.network is not None:
        join_network(within.network)
    if within.host_name:
        take_host_name(within.host_name)
        orchestrator.store.leases.RENEW_EVERY_S, orchestrator.store.leases.STALE_AFTER_S = LEASES_S
    if within.small_disk is None:
        orchestrator.sweep.app(arguments)
        return
    mount_small_disk(within.small_disk)
    try:
        orchestrator.sweep.app(arguments)
    finally:
        (within.small_disk / ".balloon").unlink(missing_ok=True)
        shutil.copytree(within.small_disk, within.small_disk.with_name("store"))


class _NoReport:
    """No report."""

    def __init__(self, store: Store) -> None:
        self.path = f"{store.root}/report.html"

    def refresh(self) -> None:
        """Nothing."""

    def write(self) -> None:
        """Nothing."""


def can_mount() -> bool:
    """Whether this machine lets a process mount a small disk of its own."""
    return _can(_try_mount)


def can_take_name() -> bool:
    """Whether this machine lets a process have a host name of its own."""
    return _can(_try_name)


def _can(try_it: Callable[[], None]) -> bool:
    child = START.Process(target=try_it)
    child.start()
    child.join()
    return child.exitcode == 0


def _try_mount() -> None:
    with tempfile.TemporaryDirectory() as folder:
        mount_small_disk(Path(folder) / "disk", "1m")
        os._exit(0)


def _try_name() -> None:
    take_host_name("another")
