"""Leases: staleness is judged on one clock, and a driver learns that its lease was revoked; and events."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from orchestrator.store import leases
from orchestrator.store.events import EventLog, read_events
from orchestrator.store.leases import STALE_AFTER_S, HeldLease, Lease, LeaseWatch, process_start
from workers.storage import Storage, open_storage


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return open_storage(tmp_path)
    return open_storage(f"{request.getfixturevalue('s3')}/{uuid4()}")


def put(storage: Storage, driver: str = "far-1", renewals: int = 0, **changes: object) -> None:
    """The lease of a driver on another machine."""
    lease = Lease(
        driver=driver,
        host="far",
        boot="b",
        pid=1,
        process_start="2",
        argv=["sweep"],
        started_unix_s=-1e9,  # clocks differ, and nobody cares
        renewals=renewals,
    )
    storage.write(f"drivers/{driver}/lease.json", lease.model_copy(update=changes).model_dump_json().encode())


def test_an_unchanged_lease_becomes_stale_on_the_readers_clock(storage: Storage) -> None:
    now = [1000.0]
    watch = LeaseWatch(storage, clock=lambda: now[0])
    put(storage)
    assert watch.living().keys() == {"far-1"}
    now[0] += STALE_AFTER_S
    assert watch.living().keys() == {"far-1"}
    now[0] += 1
    assert watch.living() == {}
    assert watch.leases().keys() == {"far-1"}


def test_a_renewed_lease_never_becomes_stale(storage: Storage) -> None:
    now = [0.0]
    watch = LeaseWatch(storage, clock=lambda: now[0])
    for renewals in range(10):
        put(storage, renewals=renewals)
        assert watch.living().keys() == {"far-1"}
        now[0] += 0.9 * STALE_AFTER_S


def test_the_lease_of_a_dead_process_on_the_same_machine_is_stale_at_once(storage: Storage) -> None:
    lease = HeldLease(storage, ["sweep"])
    watch = LeaseWatch(storage)
    assert watch.living().keys() == {lease.driver}
    held = watch.leases()[lease.driver]
    put(storage, "gone-1", host=held.host, boot=held.boot, pid=held.pid, process_start="0")  # its number, used again
    assert watch.living().keys() == {lease.driver}
    lease.release()
    assert watch.leases().keys() == {"gone-1"}


def test_a_check_detects_a_revoked_lease_and_a_stop_file(storage: Storage) -> None:
    one, two = HeldLease(storage, ["one"]), HeldLease(storage, ["two"])
    LeaseWatch(storage).revoke(one.driver, by=two.driver)
    storage.write(two.stop_file, b"")
    for lease in (one, two):
        lease.check()
    assert (one.lost, one.stop_asked) == (True, False)
    assert (two.lost, two.stop_asked) == (False, True)
    assert LeaseWatch(storage).leases().keys() == {two.driver}
    one.release()
    two.release()
    assert storage.listing("drivers") == {}


def test_a_stop_and_a_revoked_lease_reach_running_stages_as_a_file(storage: Storage) -> None:
    asked, revoked = HeldLease(storage, ["asked"]), HeldLease(storage, ["revoked"])
    asked.ask_stop()
    LeaseWatch(storage).revoke(revoked.driver, by=asked.driver)
    revoked.check()
    for lease in (asked, revoked):
        assert lease.stopping
        assert lease.stop_file in storage.listing("drivers")
        lease.release()


def test_a_held_lease_is_renewed(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_EVERY_S", 0.02)
    lease = HeldLease(storage, ["sweep"])
    watch = LeaseWatch(storage)
    deadline = time.monotonic() + 60
    while watch.leases()[lease.driver].renewals < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    lease.release()


def test_a_torn_lease_is_no_lease(storage: Storage) -> None:
    storage.write("drivers/torn/lease.json", b'{"driver": "to')
    assert LeaseWatch(storage).living() == {}


def test_a_lease_in_another_drivers_folder_is_ignored(storage: Storage) -> None:
    put(storage, "far-1")
    storage.write("drivers/other/lease.json", storage.read("drivers/far-1/lease.json"))
    assert LeaseWatch(storage).leases().keys() == {"far-1"}
    storage.remove(["drivers/far-1/lease.json"])
    assert LeaseWatch(storage).leases() == {}


def test_a_container_with_its_own_process_numbers_counts_as_another_machine(storage: Storage) -> None:
    lease = HeldLease(storage, ["sweep"])
    held = LeaseWatch(storage).leases()[lease.driver]
    boot = held.boot.partition(" ")[0]
    put(storage, "container-1", host=held.host, boot=f"{boot} pid:[1]", pid=held.pid, process_start="0")
    assert LeaseWatch(storage).living().keys() == {lease.driver, "container-1"}
    lease.release()


def test_a_process_has_a_start_until_it_ends() -> None:
    assert process_start(os.getpid())
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    assert process_start(child) is None


def test_the_events_of_all_drivers_are_read_in_the_order_of_their_times(storage: Storage) -> None:
    logs = [EventLog(storage, driver) for driver in ("a", "b")]
    for time_unix_s in range(6):
        logs[time_unix_s % 2].add({"time_unix_s": time_unix_s, "event": "started"})
    for log in logs:
        log.write()
    assert [event["time_unix_s"] for event in read_events(storage)] == [*range(6)]


def test_an_event_whose_write_failed_is_written_once(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    log, failures = EventLog(storage, "a"), [OSError("the answer was lost")]
    create, place = type(storage).create, Path.open

    def landed(self: Storage, path: str, content: bytes, **options: bool) -> None:
        create(self, path, content, **options)
        if failures:
            raise failures.pop()

    def full(self: Path, mode: str = "r", **options: object) -> object:
        if failures and mode == "ab":
            raise failures.pop()
        return place(self, mode, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(type(storage), "create", landed)
    monkeypatch.setattr(Path, "open", full)
    for number in range(3):
        log.add({"time_unix_s": number, "event": str(number)})
        with suppress(OSError):
            log.write()
    log.write()
    log.write()
    assert not failures
    assert [event["event"] for event in read_events(storage)] == ["0", "1", "2"]


def test_a_torn_event_is_skipped(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    write_event(storage, "a", {"time_unix_s": 1, "event": "started"})
    with (tmp_path / "events" / "a.jsonl").open("ab") as file:
        file.write(b'{"time_unix_s": 2, "ev')
    write_event(storage, "b", {"time_unix_s": 3, "event": "done"})
    assert [event["time_unix_s"] for event in read_events(storage)] == [1, 3]


NO_EVENTS = [
    b"5",
    b"[1]",
    b'"x"',
    b"null",
    b"{}",
    b'{"event": "done"}',
    b'{"time_unix_s": "soon", "event": "done"}',
    b'{"time_unix_s": NaN, "event": "done"}',
    b'{"time_unix_s": 1e300, "event": "done"}',
    b'{"time_unix_s": 2, "event": 5}',
    b'{"time_unix_s": 2, "event": "done", "attempt": "x"}',
    b'{"time_unix_s": 2, "event": "\xff"}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("line", NO_EVENTS, ids=lambda line: line[:50].decode(errors="replace"))
def test_a_line_that_is_no_event_is_skipped(line: bytes, tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    write_event(storage, "a", {"time_unix_s": 1, "event": "started"})
    with (tmp_path / "events" / "a.jsonl").open("ab") as file:
        file.write(line + b"\n")
    write_event(storage, "a", {"time_unix_s": 3, "event": "done"})
    assert [*read_events(storage)] == [{"time_unix_s": 1, "event": "started"}, {"time_unix_s": 3, "event": "done"}]


def write_event(storage: Storage, driver: str, event: dict[str, object]) -> None:
    log = EventLog(storage, driver)
    log.add(event)
    log.write()
