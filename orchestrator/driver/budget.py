"""A budget of device time: what a sweep may spend before it stops. Pure; the clock is passed in."""

from __future__ import annotations

from dataclasses import dataclass, field

CHECKPOINT_S = 30.0
"""Kept for each running device: stages checkpoint before they stop."""


@dataclass
class Budget:
    """Counts the device time of stages from their hand-over to their end, whatever came of them.

    Attributes:
        limit_s: device-seconds that may be spent.
        spent_s: device-seconds of stages that have ended, and of the results that the store had before.
    """

    limit_s: float
    spent_s: float = 0.0
    _running: dict[str, tuple[float, float]] = field(default_factory=dict)  # start and devices, by the group's stage

    def started(self, group: str, devices: float, now_s: float) -> None:
        """Count stages that run together, on so many devices, from now on."""
        self._running[group] = (now_s, devices)

    def ended(self, group: str, now_s: float) -> None:
        """Count their time as spent."""
        began_s, devices = self._running.pop(group)
        self.spent_s += devices * (now_s - began_s)

    def left_s(self, now_s: float) -> float:
        """Return the device-seconds that are left, less what running stages need for their checkpoints."""
        running = ((now_s - began_s + CHECKPOINT_S) * devices for began_s, devices in self._running.values())
        return self.limit_s - self.spent_s - sum(running)
