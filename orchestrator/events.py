"""What happened in a store, as lines of JSON: one log per driver, so that no two ever write to the same file.

{root}/events/{driver}.jsonl              in a folder, appended
{root}/events/{driver}/{number}.jsonl     in a bucket, where nothing can be appended: a few seconds each
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from workers.storage import Storage, read_many

FLUSH_EVERY_S = 10.0


class EventLog:
    """A driver's events."""

    def __init__(self, storage: Storage, driver: str) -> None:
        self._storage, self._driver = storage, driver
        self._pending: list[bytes] = []
        self._number, self._flushed = 0, time.monotonic()
        if storage.folder is not None:
            (storage.folder / "events").mkdir(parents=True, exist_ok=True)

    def add(self, event: dict[str, Any]) -> None:
        """Write an event; to a bucket, within ``FLUSH_EVERY_S`` if events keep coming, else with ``flush``."""
        line = json.dumps(event).encode() + b"\n"
        if self._storage.folder is not None:
            with (self._storage.folder / "events" / f"{self._driver}.jsonl").open("ab") as file:
                file.write(line)
            return
        self._pending.append(line)
        if time.monotonic() - self._flushed > FLUSH_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write what is pending."""
        if self._pending:
            self._storage.create(f"events/{self._driver}/{self._number:06d}.jsonl", b"".join(self._pending))
            self._number += 1
            self._pending = []
        self._flushed = time.monotonic()


def read_events(storage: Storage) -> Iterator[dict[str, Any]]:
    """All drivers' events, in the order of their times; a line that a killed driver tore is left out."""
    found: list[dict[str, Any]] = []
    for content in read_many(storage, sorted(storage.listing("events"))):
        for line in (content or b"").splitlines():
            with suppress(json.JSONDecodeError):
                found.append(json.loads(line))
    yield from sorted(found, key=lambda event: event["time_unix_s"])
