"""Supervises running attempts: ends those that hang, and asks for a checkpoint where a machine is about to go."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from orchestrator.backends.base import Backend
from orchestrator.driver.heartbeat import Heartbeat, limit_s
from orchestrator.driver.journal import Journal, attempt_number
from orchestrator.planning.plan import Node
from orchestrator.terminal.progress import ProgressPanel
from workers.attempts.attempt import Attempt
from workers.stages.job import Job
from workers.storage import Storage


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

    @property
    def job(self) -> Job:
        return self.attempt.job


class Supervision:
    """Watches one driver's attempts.

    Args:
        hang_limit_s: shortest silence that counts as hanging; see ``heartbeat.limit_s``.
    """

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
                self._journal.draining(each.node, each.machine)

    def inspect(self, in_flight: Iterable[InFlight], now_s: float) -> None:
        """Read how far attempts are, and end those that hang.

        Args:
            now_s: on one clock for all calls.
        """
        for each in in_flight:
            progress = self._read_progress(each.folder)
            self._panel.moved(each.node, progress)
            each.machine = str(progress.get("node", ""))
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

    def _read_progress(self, folder: str) -> dict[str, Any]:
        """An attempt's ``progress.json``; empty if the file is missing or torn."""
        try:
            progress = json.loads(self._storage.read(f"{folder}/progress.json"))
        except (FileNotFoundError, ValueError):
            return {}
        return progress if isinstance(progress, dict) else {}
