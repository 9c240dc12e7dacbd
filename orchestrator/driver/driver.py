"""The driver: takes stages from the ready queue to the backend, and hands over how each attempt ended.

ready --claim--> running --done--> committed
         |          |-- lost, drained, transient --> ready again, or failed when its budget is spent
         |          |-- an input is damaged --> the input is computed again, then this stage
         |          |-- raised --> failed; its descendants are blocked, the others go on
         |          '-- stop asked --> checkpointed; the next sweep resumes it
         '-- another driver runs it --> held, until that driver has committed it or is dead
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil

from orchestrator.backends.base import Backend
from orchestrator.driver.budget import Budget
from orchestrator.driver.claims import Claims, Elsewhere
from orchestrator.driver.endings import Endings
from orchestrator.driver.journal import Journal
from orchestrator.driver.supervision import LEAST_LIMIT_S, InFlight, Supervision
from orchestrator.planning.plan import Node, Plan
from orchestrator.scheduling.packing import Packing
from orchestrator.scheduling.queue import FINISHED, ReadyQueue, State
from orchestrator.scheduling.scheduler import Scheduler
from orchestrator.store import Store
from orchestrator.store.leases import HeldLease
from orchestrator.store.record import Failure
from orchestrator.terminal.progress import ProgressPanel, Stopwatch
from workers.attempts.attempt import Attempt
from workers.stages.execution import Execution
from workers.stages.job import Job
from workers.stages.kinds import width

POLL_S = 0.5
NOTICES_EVERY_S = 2.0
SURVEY_EVERY_S = 2.0
SURVEY_A_BUCKET_EVERY_S = 15.0
IDLE_NOTICE_S = 60.0


@dataclass(frozen=True)
class Work:
    """A plan, the state of its stages, and the seconds that each takes on devices of its own, None if unknown."""

    plan: Plan
    queue: ReadyQueue
    expected_s: Callable[[Node], float | None] = lambda node: None


@dataclass(frozen=True)
class Policies:
    """How stages run.

    Attributes:
        packing: how many stages share a GPU.
        max_concurrent: most stages at a time; None for as many as the devices allow.
        hang_limit_s: shortest silence after which a stage counts as hung.
        budget: device time that may be spent; None for any.
    """

    execution: Execution
    packing: Packing = field(default_factory=lambda: Packing(None))
    max_concurrent: int | None = None
    hang_limit_s: float = LEAST_LIMIT_S
    budget: Budget | None = None


@dataclass
class Summary:
    """How a sweep ended.

    Attributes:
        states: number of stages by their final state.
        interrupted: the sweep was asked to stop.
        failures: in the order in which they happened; read the first one first.
        out_of_budget: it stopped because its budget was spent.
    """

    states: Counter[State]
    seconds: float
    interrupted: bool
    failures: list[Failure] = field(default_factory=list)
    out_of_budget: bool = False

    @property
    def finished(self) -> int:
        """Number of stages in the store."""
        return sum(self.states[state] for state in FINISHED)

    @property
    def exit_code(self) -> int:
        """0 if every stage is finished, 130 after an interruption or at the end of the budget, else 1."""
        if self.finished == self.states.total():
            return 0
        return 130 if self.interrupted else 1


class Driver:
    """Runs every stage of a queue that can be run, once; the lease names this driver, and says when to stop.

    The store repeats failing calls from here on, and the panel tells of outages.
    """

    def __init__(
        self, work: Work, store: Store, lease: HeldLease, backend: Backend, policies: Policies, panel: ProgressPanel
    ) -> None:
        store.retry_failures(panel.notice, lambda: lease.stopping)
        self._plan, self._queue, self._store, self._lease = work.plan, work.queue, store, lease
        self._backend, self._policies, self._packing = backend, policies, policies.packing
        self._claims, self._panel = Claims(store, lease.driver), panel
        self._journal = Journal(store, lease.driver, panel)
        self._endings = Endings(work.plan, work.queue, store, lease, backend, self._packing, self._journal)
        self._supervision = Supervision(store.storage, backend, panel, self._journal, policies.hang_limit_s)
        self._in_flight: dict[str, InFlight] = {}  # by the stage's key
        self._scheduler = Scheduler(work.plan, work.queue, self._shares_of, work.expected_s)
        self._widest = max((width(node.stage) for node in work.plan), default=1)
        self._out_of_budget = False
        self._groups: dict[str, str] = {}  # the scheduler's name of a group, by its first attempt's stage

    def run(self, refresh_report: Callable[[], None], report_interval_s: float) -> Summary:
        """Run to the end, or until a stop is asked for; raise StoreError if the store cannot be written for minutes.

        ``refresh_report`` is called every ``report_interval_s``.
        """
        began, report_due, notices_due = time.monotonic(), Stopwatch(report_interval_s), Stopwatch(NOTICES_EVERY_S)
        idle = Stopwatch(IDLE_NOTICE_S)
        in_folder = self._store.storage.folder is not None
        survey_due = Stopwatch(SURVEY_EVERY_S if in_folder else SURVEY_A_BUCKET_EVERY_S)
        self._claims.refresh()
        while self._scheduler.running or (self._queue.active and not self._lease.stopping):
            self._heed_budget()
            moved = self._start_stages()
            ready = 0 if self._lease.stopping else self._queue.counts[State.READY]
            self._backend.wanted = ceil(ready / self._packing.level)
            for group, outcomes in self._backend.wait(POLL_S):
                moved = True
                self._scheduler.ended(self._groups.pop(group[0].job.key))
                if self._policies.budget:
                    self._policies.budget.ended(group[0].job.key, time.monotonic())
                for attempt, outcome in zip(group, outcomes, strict=True):
                    self._endings.settle(self._in_flight.pop(attempt.job.key), outcome)
            self._journal.events.write_due()
            if moved or self._scheduler.running:
                idle.restart()
            else:
                time.sleep(POLL_S)  # for another driver, the end of a pause, or machines
                if idle.due():
                    self._panel.notice(self._why_idle())
            if notices_due.due():
                self._supervision.heed_notices(self._in_flight.values())
            if survey_due.due():
                self._survey()
            if report_due.due():
                refresh_report()
        self._journal.events.write()
        states, seconds = Counter(self._queue.state.values()), time.monotonic() - began
        return Summary(states, seconds, self._lease.stopping, self._journal.failures, self._out_of_budget)

    def _heed_budget(self) -> None:
        """Stop, as after Ctrl-C, when running stages have just the time left to checkpoint."""
        budget = self._policies.budget
        if budget and not self._lease.stopping and budget.left_s(time.monotonic()) <= 0:
            self._out_of_budget = True
            self._panel.notice("The budget is spent: running stages checkpoint, nothing new starts.")
            self._lease.ask_stop()

    def _start_stages(self) -> bool:
        """Start whatever fits now; whether anything did."""
        started = False
        while not self._lease.stopping and (keys := self._scheduler.start(self._capacity, time.monotonic())):
            started = True
            self._submit([self._plan.nodes[key] for key in keys])
        return started

    def _submit(self, nodes: Sequence[Node]) -> None:
        attempts = []
        for node in nodes:
            folder = self._claims.take(node)
            if folder is Elsewhere.DONE:
                self._endings.adopt(node)
            elif folder is Elsewhere.RUNNING:
                self._queue.hold(node.key)
            else:
                attempts.append(self._start(node, folder))
        if attempts:
            self._groups[attempts[0].job.key] = nodes[0].key
            if self._policies.budget:
                devices, of = width(nodes[0].stage), self._backend.devices
                self._policies.budget.started(attempts[0].job.key, devices, of, time.monotonic())
            self._backend.submit(attempts)
        else:
            self._scheduler.ended(nodes[0].key)

    def _start(self, node: Node, folder: str) -> Attempt:
        job = Job(node.key, node.name, node.stage, {slot: self._store.out(key) for slot, key in node.inputs.items()})
        self._store.write_stage_file(node.key, job.to_json())
        stop_files = (self._lease.stop_file, f"{folder}/stop")
        artifacts = {slot: self._store.committed(key).files for slot, key in node.inputs.items()}
        attempt = Attempt(job, self._store.root, folder, stop_files, self._policies.execution, artifacts)
        stage = self._store.stage(node.key)
        assert stage is not None
        self._in_flight[node.key] = InFlight(node, attempt, self._packing.level, stage.checkpoint)
        self._journal.started(node, folder)
        return attempt

    def _survey(self) -> None:
        """Check other drivers' work, the pauses before retries, and whether running attempts still move."""
        self._claims.refresh()
        now_s = time.monotonic()
        self._endings.end_pauses(now_s)
        states, paused = self._queue.state.items(), self._endings.retry_at_s
        held = [key for key, state in states if state is State.HELD and key not in paused]
        for key in held:
            node, elsewhere = self._plan.nodes[key], self._claims.inspect(key)
            if elsewhere is Elsewhere.DONE:
                self._endings.adopt(node)
            elif elsewhere is None:
                self._endings.requeue(node)
        self._supervision.inspect(self._in_flight.values(), now_s)

    # --- devices, in shares: a GPU has as many as stages share it ------------------------------------------------

    @property
    def _capacity(self) -> int:
        """Shares of all devices, free or not; fewer if ``max_concurrent`` allows no more stages."""
        level = self._packing.level
        # a gang took whole devices at the level of its start
        gangs = (attempt for attempt in self._in_flight.values() if width(attempt.node.stage) > 1)
        shares = self._backend.devices * level - sum(width(gang.node.stage) * (level - gang.level) for gang in gangs)
        if self._policies.max_concurrent is None:
            return shares
        stages = self._policies.max_concurrent - self._scheduler.running
        return min(shares, self._scheduler.busy + stages * self._shares(self._widest))

    def _shares_of(self, node: Node) -> int:
        return self._shares(width(node.stage))

    def _shares(self, ranks: int) -> int:
        """Shares that a stage takes; a gang shares its devices with no other stage."""
        return 1 if ranks == 1 else ranks * self._packing.level

    def _why_idle(self) -> str:
        held = self._queue.counts[State.HELD]
        if not self._queue.counts[State.READY]:
            return f"{held} stages wait for another sweep to finish them, or for their next try."
        needed = min(width(self._plan.nodes[key].stage) for key in self._queue.ready())
        return f"The next stages need {needed} free devices at once, and there are {self._backend.devices}: waiting."
