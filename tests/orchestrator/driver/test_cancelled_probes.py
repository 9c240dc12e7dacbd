"""Probes of a group are interrupted together; only the cancelled one is given up."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from orchestrator.backends.base import Group, Lost
from orchestrator.driver.driver import Driver, Policies, Work
from orchestrator.scheduling.queue import ReadyQueue, State
from orchestrator.scheduling.rank import upward_rank
from orchestrator.store import Store
from orchestrator.store.leases import HeldLease
from orchestrator.terminal.progress import ProgressPanel
from tests.orchestrator.recipes.small_recipes import plan_of, recipe
from workers.attempts.attempt import Attempt, Outcome
from workers.attempts.workspace import artifact
from workers.stages import Probe
from workers.stages.execution import Execution
from workers.terminal.console import Console


class CancellingBackend:
    """Completes all stages, except that a user cancels the first probe of the first group."""

    def __init__(self) -> None:
        self.devices, self.device_bytes, self.wanted = 1, None, 0
        self.cancelled: list[str] = []
        self.companions: list[str] = []
        self._running: list[Group] = []

    def submit(self, attempts: Sequence[Attempt]) -> None:
        self._running.append(tuple(attempts))

    def wait(self, timeout_s: float) -> list[tuple[Group, Sequence[Outcome | Lost]]]:
        if not self._running:
            return []
        group = self._running.pop(0)
        if len(group) > 1 and isinstance(group[0].job.stage, Probe) and not self.cancelled:
            (Path(group[0].root) / group[0].folder / "stop").touch()
            self.cancelled = [group[0].job.key]
            self.companions = [attempt.job.key for attempt in group[1:]]
            return [(group, [Outcome("interrupted", 0.1)] * len(group))]
        return [(group, [self._done(attempt) for attempt in group])]

    def draining(self) -> set[str]:
        return set()

    def end(self, attempt: Attempt) -> bool:
        return False

    def close(self) -> None:
        self._running.clear()

    @staticmethod
    def _done(attempt: Attempt) -> Outcome:
        out = Path(attempt.root) / attempt.folder / "out"
        out.mkdir(parents=True)
        (out / "weights.safetensors").write_text(attempt.job.name)
        return Outcome("done", 0.1, files={"weights.safetensors": artifact(out / "weights.safetensors")})


def test_only_the_cancelled_probe_of_a_group_is_given_up(tmp_path: Path) -> None:
    plan, store, backend = plan_of(recipe(seeds=3)), Store(tmp_path), CancellingBackend()
    rank = upward_rank(plan)
    queue = ReadyQueue(plan, rank, [])
    panel = ProgressPanel(Console(file=io.StringIO()), plan, queue, rank, lambda: 1)
    lease = HeldLease(store.storage, [])
    try:
        policies = Policies(Execution("cpu", None, "nowhere"))
        driver = Driver(Work(plan, queue), store, lease, backend, policies, panel)
        summary = driver.run(lambda: None, 1e9)
    finally:
        lease.release()
    assert [failure.key for failure in summary.failures] == backend.cancelled
    assert backend.companions
    assert {queue.state[key] for key in backend.companions} == {State.DONE}
