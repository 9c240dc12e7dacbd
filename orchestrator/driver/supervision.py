"""Looks after what runs: whether it still moves, and whether its machine is about to go."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from orchestrator.backends.base import Backend
from orchestrator.driver.heartbeat import Pulse, limit_s
from orchestrator.driver.journal import Journal
from orchestrator.planning.plan import Node
from orchestrator.terminal.progress import Progress
from workers.attempts.attempt import Attempt
from workers.storage import Storage


@dataclass
class Running:
    """An attempt under way.

    Attributes:
        level: the packing's, when it was started.
        checkpoint: the stage's furthest one then.
        machine: as the attempt told it; empty before it began.
        drained: it was told to checkpoint, because its machine is about to go.
        waiting_since_s: since when it has not begun, as first looked at, or since it was last told of.
    """

    node: Node
    attempt: Attempt
    level: int
    checkpoint: str
    pulse: Pulse = field(default_factory=Pulse)
    machine: str = ""
    drained: bool = False
    waiting_since_s: float | None = None


class Supervision:
    """One driver's.

    Args:
        hang_limit_s: silence that is never too long; see ``heartbeat.limit_s``.
    """

    def __init__(
        self, storage: Storage, backend: Backend, progress: Progress, journal: Journal, hang_limit_s: float
    ) -> None:
        self._storage, self._backend = storage, backend
        self._progress, self._journal, self._hang_limit_s = progress, journal, hang_limit_s

    def heed_notices(self, under_way: Iterable[Running]) -> None:
        """Ask attempts on machines that are about to go for a checkpoint. A spot machine has half a minute."""
        going = self._backend.draining()
        for running in under_way:
            if running.machine in going and not running.drained:
                self._storage.write(f"{running.attempt.folder}/stop", b"drained")
                running.drained = True
                self._journal.draining(running.node, running.machine)

    def look(self, under_way: Iterable[Running], now_s: float) -> None:
        """See how far attempts are, and end those that hang.

        Args:
            now_s: on the clock of all other calls.
        """
        for running in under_way:
            progress = self._read_progress(running.attempt.folder)
            self._progress.moved(running.node, progress)
            running.machine = str(progress.get("node", ""))
            running.pulse.see(progress, now_s)
            if running.pulse.since_s is None:
                self._mind_waiting(running, now_s)
            elif running.pulse.hung(now_s, self._hang_limit_s):
                running.pulse.since_s = now_s  # ended once, or told of once per limit
                if not self._backend.end(running.attempt):
                    self._progress.notice(
                        f"{running.node.name} has not moved for long, and --backend inline cannot end it; "
                        f"press Ctrl-C twice, and use --backend ray"
                    )

    def _mind_waiting(self, running: Running, now_s: float) -> None:
        """Tell of an attempt that does not begin; it is not ended, because a queue may be long."""
        if running.waiting_since_s is None:
            running.waiting_since_s = now_s
        elif now_s - running.waiting_since_s > limit_s(None, self._hang_limit_s):
            running.waiting_since_s = now_s
            self._progress.notice(f"{running.node.name} still waits for a device, or for its process; see `ray status`")

    def _read_progress(self, folder: str) -> dict[str, Any]:
        try:
            found = json.loads(self._storage.read(f"{folder}/progress.json"))
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
