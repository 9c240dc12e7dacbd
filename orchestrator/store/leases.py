"""Leases: each driver at work in a store holds one, so that the others know whether it lives.

    {root}/drivers/{driver}/lease.json     rewritten every few seconds by the driver, with a count that grows
                           /revoked.json   by another driver that judged this one dead, by exclusive creation
                           /stop           by anyone: checkpoint running stages, and end

A lease is stale when it has not changed for ``STALE_AFTER_S`` on the *reader's* clock, so that no two clocks are
compared; on the same machine, as soon as the process is gone. Safety rests not on leases but on exclusive creation of
attempts and records: a driver that wakes up after its lease was revoked can run a stage once more, but neither take
over an attempt nor replace a record.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.store.record import DriverName, read_valid
from orchestrator.store.values import Count, UnixTime, Word
from workers.storage import Storage

RENEW_EVERY_S = 5.0
STALE_AFTER_S = 30.0


class Lease(BaseModel):
    """A driver's sign of life.

    Attributes:
        boot: the machine's boot and the container's process namespace.
        process_start: tells the process from a later one of the same number.
        renewals: grows while the driver lives.
    """

    model_config = ConfigDict(frozen=True)

    driver: DriverName
    host: Word
    boot: Word
    pid: Annotated[int, Field(ge=1, lt=2**31)]
    process_start: Word
    argv: list[str]
    started_unix_s: UnixTime
    renewals: Count = 0


def read_leases(storage: Storage, listing: Iterable[str], skipped: dict[str, str] | None = None) -> dict[str, Lease]:
    """Read the leases among listed files, by driver, stale or not; ``skipped`` as in ``read_valid``."""
    paths = [path for path in listing if path.startswith("drivers/") and path.endswith("/lease.json")]
    leases = read_valid(Lease, storage, paths, skipped)
    # a lease speaks for its own driver only
    return {lease.driver: lease for path, lease in leases.items() if path == f"drivers/{lease.driver}/lease.json"}


class LeaseWatch:
    """Tells living drivers from dead ones by watching their leases."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage, self._clock = storage, clock
        self._last_change: dict[str, tuple[int, float]] = {}  # renewals, and when this count was first read

    def leases(self) -> dict[str, Lease]:
        """All leases by driver, stale or not."""
        return read_leases(self._storage, self._storage.listing("drivers"))

    def living(self) -> dict[str, Lease]:
        """The leases that are not stale, as far as this watch has observed."""
        return {driver: lease for driver, lease in self.leases().items() if not self._stale(lease)}

    def _stale(self, lease: Lease) -> bool:
        gone = process_gone(lease)
        if gone is not None:
            return gone
        renewals, since_s = self._last_change.get(lease.driver, (-1, 0.0))
        if renewals != lease.renewals:
            self._last_change[lease.driver] = lease.renewals, self._clock()
            return False
        return self._clock() - since_s > STALE_AFTER_S

    def revoke(self, driver: str, by: str) -> None:
        """Tell a driver that was judged dead that its work has been taken over, in case it wakes up."""
        with suppress(FileExistsError):
            self._storage.create(f"drivers/{driver}/revoked.json", by.encode())
        self._storage.remove([f"drivers/{driver}/lease.json", f"drivers/{driver}/stop"])


class HeldLease:
    """This process's lease, renewed by a thread until it is released.

    Attributes:
        lost: another driver has revoked the lease.
        stop_asked: this driver was asked to stop.
    """

    def __init__(self, storage: Storage, argv: list[str]) -> None:
        pid = os.getpid()
        host = socket.gethostname()
        name = "".join(c if c.isalnum() else "-" for c in host)
        self._lease = Lease(
            driver=f"{name}-{pid}-{secrets.token_hex(4)}",
            host=host,
            boot=_boot(),
            pid=pid,
            process_start=process_start(pid) or "",
            argv=argv,
            started_unix_s=time.time(),
        )
        self._storage, self._folder = storage, f"drivers/{self.driver}"
        self.lost = self.stop_asked = False
        self._released = threading.Event()
        storage.create(f"{self._folder}/lease.json", self._lease.model_dump_json().encode())
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    @property
    def driver(self) -> str:
        """This driver's name."""
        return self._lease.driver

    @property
    def stop_file(self) -> str:
        """The file that asks this driver and its stages to stop, relative to the store's root."""
        return f"{self._folder}/stop"

    @property
    def stopping(self) -> bool:
        """Whether this driver must start nothing new."""
        return self.stop_asked or self.lost

    def ask_stop(self) -> None:
        """Start nothing new, and have running stages checkpoint, on any machine that sees the store."""
        self.stop_asked = True
        self._write_stop_file()

    def check(self) -> None:
        """Read whether the lease was revoked, or a stop was asked for."""
        present = self._storage.listing(self._folder)
        self.stop_asked = self.stop_asked or self.stop_file in present
        if f"{self._folder}/revoked.json" in present and not self.lost:
            self.lost = True
            self._write_stop_file()

    def release(self) -> None:
        """End the lease."""
        self._released.set()
        self._thread.join()
        with suppress(OSError):
            self._storage.remove(self._storage.listing(self._folder))

    def _write_stop_file(self) -> None:
        with suppress(OSError):  # then running stages run to their end
            self._storage.write(self.stop_file, b"")

    def _keep(self) -> None:
        while not self._released.wait(RENEW_EVERY_S):
            with suppress(OSError):  # if the outage lasts, others judge the lease stale and revoke it
                self.check()
                if self.lost:
                    return
                self._lease = self._lease.model_copy(update={"renewals": self._lease.renewals + 1})
                self._storage.write(f"{self._folder}/lease.json", self._lease.model_dump_json().encode())


def process_gone(lease: Lease) -> bool | None:
    """Whether a lease's process has ended; None for a process of another machine, where only watching tells."""
    here = lease.host == socket.gethostname() and lease.boot == _boot()
    return process_start(lease.pid) != lease.process_start if here else None


def process_start(pid: int) -> str | None:
    """When a process of this machine started, in clock ticks since boot; None if no such process runs.

    Without /proc, "running" for any process of this number.
    """
    with suppress(OSError):
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return None if status[0] in "ZX" else status[19]  # state and starttime: proc(5)
    if Path("/proc/self").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return "running"
    return "running"


def _boot() -> str:
    """Identify the scope of process numbers: containers may share a host name and a boot, and number apart."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return "unknown"
