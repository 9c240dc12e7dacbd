"""Start sweeps quickly, as forks of a process that has imported everything and has one thread."""

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
from workers.terminal.console import Console

START = multiprocessing.get_context("forkserver")
START.set_forkserver_preload(["orchestrator.sweep", "orchestrator.backends.ray.backend", "benchmarks.faults.processes"])
LIMIT_S = 600.0  # for a sweep of seconds: restarting a gang alone takes minutes on a busy machine
PAUSES_S = (0.5, 2.0)  # pause before a retry, shortened: a trial cannot wait for minutes
LEASES_S = (0.5, 3.0)  # lease renewal and expiry, shortened likewise


class TrialError(Exception):
    """A sweep broke the promise that a trial checks."""


@dataclass(frozen=True)
class Surroundings:
    """Differences between a sweep's surroundings and this process's.

    Attributes:
        environment: additional variables.
        small_disk: folder for a disk of a few MB that only the sweep sees; its content is copied to the folder
            ``store`` beside it at the end.
        network: process whose network the sweep joins.
        host_name: host name that the sweep sees; leases of all machines are short then.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    small_disk: Path | None = None
    network: int | None = None
    host_name: str = ""


HERE = Surroundings()


@dataclass
class Sweep:
    """A running sweep.

    Attributes:
        output: file of the sweep's output.
    """

    process: ForkServerProcess
    output: Path

    @classmethod
    def start(cls, arguments: Sequence[str], output: Path, within: Surroundings = HERE) -> Sweep:
        """Start the sweep's command."""
        process = START.Process(target=_run, args=[list(arguments), str(output), within])
        process.start()
        return cls(process, output)

    @property
    def ended(self) -> bool:
        """Whether the sweep has ended."""
        return not self.process.is_alive()

    def reaches(self, batches: int, place: Place) -> bool:
        """Wait until a number of training batches have begun; return False if the sweep ends first."""
        while place.batches() < batches:
            if self.ended:
                return False
            time.sleep(0.002)
        return True

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """Wait for the end; return the exit code, or the ending signal as a negative number.

        Raises:
            TrialError: the sweep did not end in time.
        """
        self.process.join(limit_s)
        code = self.process.exitcode
        if code is None:
            self.kill()
            raise TrialError(f"the sweep did not end within {limit_s:.0f} s:\n{self.text()[-3000:]}")
        return code

    def kill(self) -> None:
        """Kill the sweep, as a power loss does."""
        self.send(signal.SIGKILL)
        self.process.join()

    def send(self, number: int) -> None:
        """Send a signal to the sweep."""
        assert self.process.pid is not None
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def text(self) -> str:
        """Return the sweep's output."""
        return self.output.read_text() if self.output.exists() else ""


def _run(arguments: list[str], output: str, within: Surroundings) -> None:
    """Run the command in the forked process, without its report, a separate process that only reads."""
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
    orchestrator.session.run.LiveReport = NoReport  # type: ignore[misc,assignment]
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


class NoReport:
    """Stands in for the report and writes none."""

    def __init__(self, store: Store) -> None:
        self.path = f"{store.root}/report.html"

    def refresh(self) -> None:
        """Nothing."""

    def write(self, console: Console) -> bool:
        """Nothing; there is no report to miss."""
        return True


def can_mount() -> bool:
    """Return whether this machine allows mount namespaces."""
    return _can(_try_mount)


def can_take_name() -> bool:
    """Return whether this machine allows host-name namespaces."""
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
