"""The driver: takes stages from the ready queue to the backend and their results to the store.

ready --submit--> running --done--> committed
                    |-- lost --> ready again, or failed when its budget is spent
                    |-- raised --> failed; its descendants are blocked, the others go on
                    '-- stop asked --> checkpointed; the next sweep resumes it
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from orchestrator.backends.base import Backend, Lost
from orchestrator.failures import Cause, decide
from orchestrator.gangs import next_to_start, width
from orchestrator.packing import Packing
from orchestrator.plan import Node, Plan
from orchestrator.progress import Progress, Stopwatch
from orchestrator.provenance import code_provenance
from orchestrator.queue import FINISHED, ReadyQueue, State
from orchestrator.record import Failure, Record
from orchestrator.store import Store
from workers.attempt import Attempt, Outcome
from workers.execution import Execution
from workers.job import Job
from workers.stages import Probe

POLL_S = 0.5
MOST_PROBES = 8  # in one group: each holds its networks at all points of the path


@dataclass
class StopRequest:
    """Whether the user asked to stop; the file tells workers on any machine that sees the store."""

    file: Path
    asked: bool = False

    def ask(self) -> None:
        """Stop submitting, and have running stages checkpoint."""
        self.asked = True
        self.file.touch()

    def clear(self) -> None:
        """Forget an earlier sweep's request."""
        self.file.unlink(missing_ok=True)


@dataclass
class Summary:
    """How a sweep ended.

    Attributes:
        failures: in the order in which they happened; the first is the one to look at.
    """

    states: Counter[State]
    seconds: float
    interrupted: bool
    failures: list[Failure] = field(default_factory=list)

    @property
    def finished(self) -> int:
        """How many stages are in the store now."""
        return sum(self.states[state] for state in FINISHED)

    @property
    def exit_code(self) -> int:
        """0 when all is done, 130 after an interruption, 1 when something failed."""
        if self.finished == self.states.total():
            return 0
        return 130 if self.interrupted else 1


class Driver:
    """Runs everything in a queue that can be run, once."""

    def __init__(
        self,
        plan: Plan,
        queue: ReadyQueue,
        store: Store,
        backend: Backend,
        execution: Execution,
        progress: Progress,
        stop: StopRequest,
        packing: Packing,
        max_concurrent: int | None = None,
    ) -> None:
        self._packing, self._max_concurrent = packing, max_concurrent
        self._started_at: dict[str, int] = {}  # the packing's level
        self._plan, self._queue, self._store, self._backend = plan, queue, store, backend
        self._execution, self._progress, self._stop = execution, progress, stop
        self._lost: Counter[str] = Counter()
        self._failures: list[Failure] = []
        self._in_flight = 0
        self._wide: dict[str, int] = {}  # widths of the gangs in flight

    def run(self, refresh_report: Callable[[], None], report_interval_s: float) -> Summary:
        """Run to the end, or until a stop is asked for; ``refresh_report`` is called every ``report_interval_s``."""
        began, report_due = time.monotonic(), Stopwatch(report_interval_s)
        while self._in_flight or (self._queue.active and not self._stop.asked):
            while not self._stop.asked:
                key = self._next()
                if key is None:
                    break
                self._submit([self._plan.nodes[one] for one in [key, *self._companions(key)]])
            for group, outcomes in self._backend.wait(POLL_S):
                self._in_flight -= 1
                self._wide.pop(group[0].job.key, None)
                for attempt, outcome in zip(group, outcomes, strict=True):
                    self._settle(self._plan.nodes[attempt.job.key], Path(attempt.folder), outcome)
            if report_due.due():
                refresh_report()
        return Summary(Counter(self._queue.state.values()), time.monotonic() - began, self._stop.asked, self._failures)

    @property
    def _room(self) -> int:
        """Groups that may be in flight at a time."""
        alone = self._backend.devices - sum(self._wide.values())
        room = alone * self._packing.level + len(self._wide)
        return min(room, self._max_concurrent or room)

    def _next(self) -> str | None:
        """Start the most urgent ready stage that may start now."""
        ready, slots = self._queue.ready(), self._room - self._in_flight
        widths = [width(self._plan.nodes[key].stage) for key in ready]
        if not self._wide and max(widths, default=1) == 1:
            return self._queue.pop() if slots > 0 else None
        free, devices = self._backend.free, self._backend.devices
        by_narrow = devices - free - sum(self._wide.values())
        chosen = next_to_start(widths, slots=slots, free=free, devices=devices, by_narrow=by_narrow)
        if chosen is None:
            return None
        self._queue.start([ready[chosen]])
        return ready[chosen]

    def _companions(self, key: str) -> list[str]:
        """Ready probes that read the same data as this one, started with it: this one's share of them."""
        if not isinstance(self._plan.nodes[key].stage, Probe):
            return []
        alike = self._queue.ready_like(key)
        share = math.ceil((1 + len(alike)) / (self._room - self._in_flight))
        companions = alike[: min(share, MOST_PROBES) - 1]
        self._queue.start(companions)
        return companions

    def _submit(self, nodes: Sequence[Node]) -> None:
        attempts = []
        for node in nodes:
            folders = {slot: self._store.out(key) for slot, key in node.inputs.items()}
            inputs = {slot: str(folder.relative_to(self._store.root)) for slot, folder in folders.items()}
            job = Job(node.key, node.name, node.stage, inputs)
            folder = self._store.new_attempt(node.stage.kind, node.name, node.key, job.to_json())
            stop_file = str(self._stop.file)
            self._started_at[node.key] = self._packing.level
            attempts.append(Attempt(job, str(self._store.root), str(folder), stop_file, self._execution))
            self._progress.started(node, folder)
            self._event("started", node, attempt=int(folder.name))
        if width(nodes[0].stage) > 1:
            self._wide[nodes[0].key] = width(nodes[0].stage)
        self._backend.submit(attempts)
        self._in_flight += 1

    def _settle(self, node: Node, folder: Path, outcome: Outcome | Lost) -> None:
        if isinstance(outcome, Lost):
            self._fail(node, folder, Cause.CRASH, "WorkerLost", outcome.message)
        elif outcome.status == "interrupted":
            self._queue.requeue(node.key)
            self._progress.interrupted(node)
            self._event("interrupted", node, attempt=int(folder.name))
        elif outcome.error_type == "OutOfMemoryError":  # torch's, of a GPU: with fewer beside it, it may fit
            self._packing.crowded(self._started_at.pop(node.key))
            self._fail(node, folder, Cause.CRASH, outcome.error_type, outcome.message)
        elif outcome.status == "failed":
            self._fail(node, folder, Cause.APPLICATION, outcome.error_type, outcome.message)
        else:
            self._commit(node, folder, outcome)

    def _commit(self, node: Node, folder: Path, outcome: Outcome) -> None:
        record = Record(
            key=node.key,
            kind=node.stage.kind,
            name=node.name,
            labels=node.labels,
            science=asdict(node.stage),
            inputs=dict(node.inputs),
            attempt=int(folder.name),
            files={},
            results=outcome.results,
            seconds=outcome.seconds,
            finished_unix_s=time.time(),
            provenance={**code_provenance(), **outcome.machine},
        )
        self._store.commit(folder, record)
        self._packing.observe(record)
        self._queue.done(node.key)
        self._progress.ended(node, outcome.seconds, outcome.results)
        self._event("done", node, attempt=int(folder.name), seconds=outcome.seconds)

    def _fail(self, node: Node, folder: Path, cause: Cause, error_type: str, message: str) -> None:
        log = str((folder / "log.txt").relative_to(self._store.root))
        failure = Failure(
            key=node.key,
            name=node.name,
            attempt=int(folder.name),
            error_type=error_type,
            message=message,
            log=log,
            finished_unix_s=time.time(),
            cause=cause,
        )
        self._store.fail(folder, failure)
        decision = decide(cause, self._lost[node.key])
        self._event("failed", node, attempt=failure.attempt, error=f"{error_type}: {message}", retry=decision.retry)
        self._progress.failed(node, f"{error_type}: {message}  ({decision.reason})")
        if decision.retry:
            self._lost[node.key] += 1
            self._queue.requeue(node.key)
            return
        self._failures.append(failure)
        for key in self._queue.failed(node.key):
            self._event("blocked", self._plan.nodes[key], by=node.name)

    def _event(self, event: str, node: Node, **details: object) -> None:
        self._store.append_event(
            {"time_unix_s": time.time(), "event": event, "key": node.key, "name": node.name, **details}
        )
