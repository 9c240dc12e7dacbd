"""Run empty stages through the real driver, store and Ray to measure the overhead."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path

import ray

from orchestrator.backends.ray.backend import RayBackend
from orchestrator.backends.ray.in_flight import GroupInFlight
from orchestrator.driver.driver import Driver, Policies, Work
from orchestrator.planning.plan import Plan
from orchestrator.scheduling.queue import ReadyQueue
from orchestrator.scheduling.rank import upward_rank
from orchestrator.store import Store
from orchestrator.store.leases import HeldLease
from orchestrator.terminal.progress import ProgressPanel
from workers.attempts.attempt import Attempt, Outcome
from workers.attempts.workspace import Artifact
from workers.stages.execution import Execution
from workers.terminal.console import Console


@ray.remote(max_retries=0)
def _do_nothing(attempts: Sequence[Attempt]) -> list[Outcome]:
    for attempt in attempts:
        out = Path(attempt.root) / attempt.folder / "out"
        out.mkdir()
        (out / "nothing").touch()
    files = {"nothing": Artifact(0, "")}
    return [Outcome("done", 0.0, {}, {"device": "cpu (none used)"}, files) for _ in attempts]


class NoOpBackend(RayBackend):
    """Run stages as Ray tasks of one core that write an empty artifact."""

    def submit(self, attempts: Sequence[Attempt]) -> None:
        ref = _do_nothing.options(num_cpus=1, name=attempts[0].job.stage.kind).remote(attempts)
        self._in_flight[ref] = GroupInFlight(tuple(attempts), None)


def run_no_op(plan: Plan, root: Path, backend: NoOpBackend) -> float:
    """Run a sweep of empty stages into an empty store; return its seconds, without the start of Ray.

    Raises:
        RuntimeError: a stage was not done.
    """
    began = time.perf_counter()
    store, rank = Store(root), upward_rank(plan)
    queue = ReadyQueue(plan, rank, [])
    panel = ProgressPanel(Console(file=io.StringIO()), plan, queue, rank, lambda: backend.devices)
    store.open_for_writing()
    lease = HeldLease(store.storage, ["no-op"])
    policies = Policies(Execution("cpu", None, "nowhere"))
    driver = Driver(Work(plan, queue), store, lease, backend, policies, panel)
    summary = driver.run(lambda: None, float("inf"))
    lease.release()
    if summary.exit_code:
        raise RuntimeError(f"only {summary.finished} of {len(plan)} empty stages were done")
    return time.perf_counter() - began
