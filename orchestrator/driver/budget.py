"""A budget of device time: what a sweep may spend before it stops. Pure; the clock is passed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.store.record import Record

CHECKPOINT_S = 30.0
"""Kept for each running device: stages checkpoint before they stop."""


@dataclass
class Budget:
    """Counts the time of devices that run stages, from a stage's hand-over to its end, whatever came of it.

    A device counts once, however many stages share it, and in full if a stage has it alone: stages are spread over all
    devices before they share any.

    Attributes:
        limit_s: device-seconds that may be spent.
        spent_s: device-seconds up to the last start or end, those of earlier runs included (``spent_before``).
    """

    limit_s: float
    spent_s: float = 0.0
    _running: dict[str, int] = field(default_factory=dict)  # devices, by the group's stage
    _devices: int = 0  # that there are
    _since_s: float = 0.0  # when they were last counted

    @property
    def in_use(self) -> int:
        """Devices that run a stage."""
        return min(self._devices, sum(self._running.values()))

    def started(self, group: str, devices: int, of: int, now_s: float) -> None:
        """Count stages that run together, on so many of the devices that there are, from now on."""
        self._count(now_s)
        self._running[group], self._devices = devices, of

    def ended(self, group: str, now_s: float) -> None:
        """Count their time as spent."""
        self._count(now_s)
        del self._running[group]

    def left_s(self, now_s: float) -> float:
        """Return the device-seconds that are left, less what running stages need for their checkpoints."""
        return self.limit_s - self.spent_s - self.in_use * (now_s - self._since_s + CHECKPOINT_S)

    def _count(self, now_s: float) -> None:
        self.spent_s += self.in_use * (now_s - self._since_s)
        self._since_s = now_s


def device_seconds(record: Record) -> float:
    """Return the device time of a stage's committed attempt, with its share of a GPU that others used too."""
    ranks = record.science.get("training", {}).get("gang", {}).get("ranks", 1)
    return float(record.seconds * ranks / (1 + record.provenance.get("stages_beside", 0)))


def spent_before(
    devices: Mapping[str, int], records: Mapping[str, Record], events: Iterable[Mapping[str, Any]]
) -> float:
    """Return the device-seconds that earlier runs spent on stages: their results, and attempts that came to nothing.

    An attempt whose end no event tells, such as one that was killed with its driver, has an unknown time and counts 0.
    One that shared a device counts in full.

    Args:
        devices: number of devices of each stage, by key; other stages do not count.
        records: of the store, by key.
        events: of the store, by time.
    """
    spent_s = sum(device_seconds(records[key]) for key in devices if key in records)
    began_s: dict[tuple[str, int], float] = {}
    for event in events:
        attempt = event.get("key", ""), event.get("attempt", 0)
        if event["event"] == "started":
            began_s[attempt] = event["time_unix_s"]
        elif event["event"] in ("interrupted", "failed") and attempt in began_s:
            spent_s += devices.get(attempt[0], 0) * (event["time_unix_s"] - began_s.pop(attempt))
    return spent_s
