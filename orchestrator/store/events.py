"""Events: what happened in a store, as lines of JSON. Each driver has its own log, so that no two write to one file.

{root}/events/{driver}.jsonl              in a folder, appended
{root}/events/{driver}/{number}.jsonl     in a bucket, whose files cannot be appended to: a few seconds' events each
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from heapq import nlargest
from typing import Any

from pydantic import BaseModel, ValidationError

from orchestrator.store.values import CutText, OrdinalNumber, Seconds, UnixTime, Word
from workers.storage import Entry, Storage, read_many
from workers.terminal.numbers import duration

WRITE_EVERY_S = 0.2
WRITE_TO_A_BUCKET_EVERY_S = 10.0
PACE_STAGES, LEAST_PACE_STAGES = 20, 3
MOST_OF_A_LOG, MOST_OF_ALL_LOGS = 160 << 20, 320 << 20
"""Bytes to read: a sweep of 100,000 stages, the most of a plan, writes 105 MB, and a budget counts all its events."""


class Event(BaseModel):
    """One line of a log; its time is a date that calendars have."""

    time_unix_s: UnixTime
    event: Word
    key: Word = ""
    name: Word = ""
    attempt: OrdinalNumber | None = None
    seconds: Seconds | None = None
    error: CutText | None = None
    cause: Word | None = None
    retry: bool | None = None
    machine: Word | None = None
    by: Word | None = None
    found_by: Word | None = None


class EventLog:
    """Writes one driver's events."""

    def __init__(self, storage: Storage, driver: str) -> None:
        self._storage, self._driver = storage, driver
        self._pending: list[bytes] = []
        self._content = b""  # being written; repeated unchanged after a failure, because it may have arrived
        self._number, self._written = 0, time.monotonic()

    def add(self, event: dict[str, Any]) -> None:
        """Add an event, to be written by ``write_due`` or ``write``."""
        self._pending.append(json.dumps(event).encode() + b"\n")

    def write_due(self) -> None:
        """Write pending events, now and then: a sweep of short stages has hundreds of them a second."""
        every_s = WRITE_EVERY_S if self._storage.folder is not None else WRITE_TO_A_BUCKET_EVERY_S
        if time.monotonic() - self._written > every_s:
            self.write()

    def write(self) -> None:
        """Write pending events; may be called again after a failure."""
        if self._pending and not self._content:
            self._content, self._pending = b"".join(self._pending), []
        if self._content and self._storage.folder is not None:
            self._storage.append(f"events/{self._driver}.jsonl", self._content)
        elif self._content:
            self._storage.create(f"events/{self._driver}/{self._number:06d}.jsonl", self._content)
            self._number += 1
        self._content = b""
        self._written = time.monotonic()


def read_events(storage: Storage) -> Iterator[dict[str, Any]]:
    """Yield all drivers' events by time; torn and other invalid lines are skipped.

    Of a log larger than ``MOST_OF_A_LOG``, the end is read; beyond ``MOST_OF_ALL_LOGS`` the newest logs are.
    """
    events: list[dict[str, Any]] = []
    contents = read_many(storage, _newest(storage.listing("events")), most_bytes=MOST_OF_A_LOG, end=True)
    for content in contents.values():
        for line in content.splitlines():
            with suppress(ValidationError):
                events.append(Event.model_validate_json(line).model_dump(exclude_unset=True))
    yield from sorted(events, key=lambda event: event["time_unix_s"])


def _newest(logs: Mapping[str, Entry]) -> list[str]:
    """The newest logs, of ``MOST_OF_ALL_LOGS`` together at most, sorted by path."""
    newest, left_bytes = [], MOST_OF_ALL_LOGS
    for path in sorted(logs, key=lambda path: logs[path].modified_unix_s or 0.0, reverse=True):
        left_bytes -= min(logs[path].size_bytes, MOST_OF_A_LOG)
        if left_bytes >= 0:
            newest.append(path)
    return sorted(newest)


@dataclass(frozen=True)
class Outlook:
    """How a store's sweeps go on: ``status`` and the live page say the same.

    Attributes:
        text: a sentence for people.
        seconds: from the end of the last stage to that of the sweeps, if the other stages end at the pace of the last
            ones; 0 if no stage is left; None if that is unknown, or if no sweep goes on.
        stages: how many stages the pace was measured on.
    """

    text: str
    seconds: float | None = None
    stages: int = 0


def outlook(ended_unix_s: Iterable[float], *, unfinished: int, given_up: int, at_work: bool) -> Outlook:
    """Return how a store's sweeps go on; the pace needs 3 stages that did not all end at one moment.

    Args:
        ended_unix_s: when each finished stage ended.
        unfinished: number of stages that run or wait.
        given_up: number of stages that failed, were cancelled, or are blocked by these.
        at_work: whether a driver is at work in the store.
    """
    if not unfinished and not given_up:
        return Outlook("All done: 0 stages are left.", 0.0)
    left = "1 stage is" if unfinished + given_up == 1 else f"{unfinished + given_up} stages are"
    if not at_work:
        return Outlook(f"Nothing runs, and {left} left. Repeat the sweep's command to go on.")
    if not unfinished:
        return Outlook(f"Ending: {left} left: failed, cancelled, or blocked by such a stage.")
    last = nlargest(PACE_STAGES, ended_unix_s)
    if len(last) < LEAST_PACE_STAGES or last[0] <= last[-1]:
        return Outlook("The time left is not known yet.")
    seconds = (last[0] - last[-1]) / (len(last) - 1) * unfinished
    pace = f"if the other stages end at the pace of the last {len(last)}"
    return Outlook(f"About {duration(seconds)} left, {pace}.", seconds, len(last))
