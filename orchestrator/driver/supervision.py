"""Supervises running attempts: ends those that hang, and asks for a checkpoint where a machine is about to go.

A hung attempt is told from a slow one by its silence, measured against its own pace.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.backends.base import Backend
from orchestrator.driver.journal import Journal, attempt_number
from orchestrator.planning.plan import Node
from orchestrator.store.record import read_valid
from orchestrator.store.values import Progress
from orchestrator.terminal.progress import ProgressPanel
from workers.attempts.attempt import Attempt
from workers.storage import Storage

START_FACTOR = 6  # before the second beat: decoding a data set, compiling
SLOWEST_STEPS = 20  # in units of the attempt's slowest step so far
LEAST_LIMIT_S = 300.0  # whatever the pace: an evaluation's end, a checkpoint, a file system that hiccups


def limit_s(longest_step_s: float | None, least_s: float = LEAST_LIMIT_S) -> float:
    """Seconds of silence after which an attempt counts as hung.

    Args:
        longest_step_s: longest time between two beats of this attempt so far; None before the second beat.
        least_s: lower bound of the limit, which is ``START_FACTOR`` times this bound before the second beat.
    """
    return START_FACTOR * least_s if longest_step_s is None else max(least_s, SLOWEST_STEPS * longest_step_s)


@dataclass
class Heartbeat:
    """One attempt's beats, timed by this process's clock, not the worker's.

    An attempt without a ``progress.json`` waits for its device, for however long: that is no silence.

    Attributes:
        since_s: when the newest beat was first read, on the caller's clock; None before the file exists.
    """

    since_s: float | None = None
    beats: int = -1
    longest_step_s: float | None = None

    def update(self, progress: Progress, now_s: float) -> None:
        """Take in the attempt's current ``progress.json``."""
        if progress.beats != self.beats:
            self.beats, self.since_s = progress.beats, now_s
            self.longest_step_s = progress.longest_step_s

    def hung(self, now_s: float, least_s: float = LEAST_LIMIT_S) -> bool:
        """Whether the silence exceeds the limit."""
        return self.since_s is not None and now_s - self.since_s > limit_s(self.longest_step_s, least_s)


@dataclass
class InFlight:
    """A submitted attempt.

    Attributes:
        level: the packing's level at the attempt's start.
        checkpoint: the stage's furthest checkpoint at the attempt's start.
        machine: from the attempt's ``progress.json``; empty before the attempt began.
        drained: it was asked for a checkpoint, because its machine is about to go.
        waiting_since_s: when the wait for a device was first observed, or last reported.
    """

    node: Node
    attempt: Attempt
    level: int
    checkpoint: str
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    machine: str = ""
    drained: bool = False
    waiting_since_s: float | None = None

    @property
    def folder(self) -> str:
        """The attempt's folder, relative to the store's root."""
        return self.attempt.folder

    @property
    def number(self) -> int:
        """Counts the stage's attempts, from 1."""
        return attempt_number(self.folder)


class Supervision:
    """Watches one driver's attempts; ``hang_limit_s`` is the least limit of ``limit_s``."""

    def __init__(
        self, storage: Storage, backend: Backend, panel: ProgressPanel, journal: Journal, hang_limit_s: float
    ) -> None:
        self._storage, self._backend = storage, backend
        self._panel, self._journal, self._hang_limit_s = panel, journal, hang_limit_s

    def heed_notices(self, in_flight: Iterable[InFlight]) -> None:
        """Ask attempts on draining machines for a checkpoint. A spot machine has half a minute."""
        draining = self._backend.draining()
        for each in in_flight:
            if each.machine in draining and not each.drained:
                self._storage.write(f"{each.folder}/stop", b"drained")
                each.drained = True
                self._journal.event("draining", each.node, machine=each.machine)

    def inspect(self, in_flight: Iterable[InFlight], now_s: float) -> None:
        """Read how far attempts are, and end those that hang; ``now_s`` is on one clock for all calls."""
        for each in in_flight:
            path = f"{each.folder}/progress.json"
            progress = read_valid(Progress, self._storage, [path]).get(path, Progress())
            self._panel.moved(each.node, progress.model_dump())
            each.machine = progress.node
            each.heartbeat.update(progress, now_s)
            if each.heartbeat.since_s is None:
                self._report_waiting(each, now_s)
            elif each.heartbeat.hung(now_s, self._hang_limit_s):
                each.heartbeat.since_s = now_s  # end it once, or report it once per limit
                if not self._backend.end(each.attempt):
                    self._panel.notice(
                        f"{each.node.name} has not moved for long, and --backend inline cannot end it; "
                        f"press Ctrl-C twice, and use --backend ray"
                    )

    def _report_waiting(self, waiting: InFlight, now_s: float) -> None:
        """Report an attempt that does not begin; it is not ended, because a queue may be long."""
        if waiting.waiting_since_s is None:
            waiting.waiting_since_s = now_s
        elif now_s - waiting.waiting_since_s > limit_s(None, self._hang_limit_s):
            waiting.waiting_since_s = now_s
            self._panel.notice(f"{waiting.node.name} still waits for a device, or for its process; see `ray status`")
