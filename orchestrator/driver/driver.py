"""The driver: takes stages from the ready queue to the backend and their results to the store.

ready --claim--> running --done--> committed
         |          |-- lost, drained, transient --> ready again, or failed when its budget is spent
         |          |-- an input is damaged --> the input is made anew, then this
         |          |-- raised --> failed; its descendants are blocked, the others go on
         |          '-- stop asked --> checkpointed; the next sweep resumes it
         '-- another driver is at it --> held, until that has committed it or is dead
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from orchestrator.backends.base import Backend, Lost
from orchestrator.driver.claims import Claims, Others
from orchestrator.driver.failures import Ended, History, classify
from orchestrator.driver.heartbeat import LEAST_LIMIT_S
from orchestrator.driver.journal import Journal, attempt_number
from orchestrator.driver.stop import StopRequest
from orchestrator.driver.summary import Summary
from orchestrator.driver.supervision import Running, Supervision
from orchestrator.planning.plan import Node, Plan
from orchestrator.scheduling.packing import Packing
from orchestrator.scheduling.queue import FINISHED, GIVEN_UP, ReadyQueue, State
from orchestrator.scheduling.scheduler import Scheduler
from orchestrator.store import Store, StoreError
from orchestrator.store.layout import RECORD
from orchestrator.store.leases import HeldLease
from orchestrator.store.provenance import code_provenance
from orchestrator.store.record import Cause, Record
from orchestrator.terminal.progress import Progress, Stopwatch
from workers.attempts.attempt import Attempt, Outcome
from workers.stages import to_science
from workers.stages.execution import Execution
from workers.stages.job import Job
from workers.stages.kinds import width

POLL_S = 0.5
LOOK_EVERY_S = 2.0  # at leases, heartbeats and machines about to go
LOOK_INTO_A_BUCKET_EVERY_S = 15.0  # at all of these but the last
IDLE_NOTICE_S = 60.0
REMADE = 2  # times that a stage is made anew because its files were found damaged


class Driver:
    """Runs everything in a queue that can be run, once.

    Args:
        max_concurrent: at most so many stages at a time.
        hang_limit_s: silence of a stage that is never too long.
        expected_s: how long a stage takes that has its devices to itself; None if nobody knows.
    """

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
        lease: HeldLease,
        max_concurrent: int | None = None,
        hang_limit_s: float = LEAST_LIMIT_S,
        expected_s: Callable[[Node], float | None] = lambda node: None,
    ) -> None:
        self._plan, self._queue, self._store, self._backend = plan, queue, store, backend
        self._execution, self._stop = execution, stop
        self._packing, self._max_concurrent = packing, max_concurrent
        store.retry_failures(progress.notice)
        self._claims = Claims(store, lease.driver)
        self._journal = Journal(store, lease.driver, progress)
        self._supervision = Supervision(store.storage, backend, progress, self._journal, hang_limit_s)
        self._running: dict[str, Running] = {}
        self._histories: defaultdict[str, History] = defaultdict(History)
        self._remade: Counter[str] = Counter()
        self._retry_at_s: dict[str, float] = {}  # held stages, by key; the others wait for another driver
        self._schedule = Scheduler(plan, queue, self._needed, expected_s)
        self._widest = max((width(node.stage) for node in plan), default=1)
        left = (node for node in plan if queue.state[node.key] not in FINISHED)
        self._foreseen = max((width(node.stage) for node in left), default=1)  # whether wider ones fit was never asked
        self._groups: dict[str, str] = {}  # the schedule's name of a group, by its first attempt's stage

    def run(self, refresh_report: Callable[[], None], report_interval_s: float) -> Summary:
        """Run to the end, or until a stop is asked for; ``refresh_report`` is called every ``report_interval_s``.

        Raises:
            StoreError: the store could not be written for minutes.
        """
        began, report_due, notices_due = time.monotonic(), Stopwatch(report_interval_s), Stopwatch(LOOK_EVERY_S)
        idle = Stopwatch(IDLE_NOTICE_S)
        look_due = Stopwatch(LOOK_EVERY_S if self._store.storage.folder is not None else LOOK_INTO_A_BUCKET_EVERY_S)
        self._claims.look()
        while self._schedule.running or (self._queue.active and not self._stop.asked):
            moved = False
            while not self._stop.asked and (keys := self._schedule.start(self._room, time.monotonic())):
                moved = True
                self._submit([self._plan.nodes[key] for key in keys])
            for group, outcomes in self._backend.wait(POLL_S):
                moved = True
                self._schedule.ended(self._groups.pop(group[0].job.key))
                for attempt, outcome in zip(group, outcomes, strict=True):
                    self._settle(attempt, outcome)
            if moved or self._schedule.running:
                idle.restart()
            else:
                time.sleep(POLL_S)  # for another driver, for a pause to be over, or for machines
                if idle.due():
                    self._journal.idle(self._why_idle())
            self._stop.look()
            if notices_due.due():
                self._supervision.heed_notices(self._running.values())
            if look_due.due():
                self._look_around()
            if report_due.due():
                refresh_report()
        self._journal.flush()
        states, seconds = Counter(self._queue.state.values()), time.monotonic() - began
        return Summary(states, seconds, self._stop.asked, self._journal.failures)

    @property
    def _room(self) -> int:
        """Shares of devices that there are; fewer where the user allows no more stages at a time."""
        level = self._packing.level
        # a gang took whole devices at the level of its start
        gangs = (running for running in self._running.values() if width(running.node.stage) > 1)
        room = self._backend.devices * level - sum(width(gang.node.stage) * (level - gang.level) for gang in gangs)
        if self._max_concurrent is None:
            return room
        stages = self._max_concurrent - self._schedule.running
        return min(room, self._schedule.busy + stages * self._share_of(self._widest))

    def _why_idle(self) -> str:
        """What is waited for while nothing runs."""
        held = self._queue.counts[State.HELD]
        if not self._queue.counts[State.READY]:
            return f"{held} stages wait for another sweep that is at them, or for their next try."
        needed = min(width(self._plan.nodes[key].stage) for key in self._queue.ready())
        return f"The next stages need {needed} free devices at once, and there are {self._backend.devices}: waiting."

    def _needed(self, node: Node) -> int:
        """Shares of devices that a stage takes."""
        return self._share_of(width(node.stage))

    def _share_of(self, ranks: int) -> int:
        """A gang shares its devices with nobody."""
        return 1 if ranks == 1 else ranks * self._packing.level

    # --- starting ------------------------------------------------------------------------------------------------

    def _submit(self, nodes: Sequence[Node]) -> None:
        attempts = []
        for node in nodes:
            taken = self._claims.take(node)
            if taken is Others.HAVE_DONE:
                self._adopt(node)
            elif taken is Others.ARE_AT_IT:
                self._queue.hold(node.key)
            else:
                attempts.append(self._start(node, taken))
        if attempts:
            self._groups[attempts[0].job.key] = nodes[0].key
            self._backend.submit(attempts)
        else:
            self._schedule.ended(nodes[0].key)

    def _start(self, node: Node, folder: str) -> Attempt:
        job = Job(node.key, node.name, node.stage, {slot: self._store.out(key) for slot, key in node.inputs.items()})
        self._store.describe(node.key, job.to_json())
        stop_files = (self._stop.file, f"{folder}/stop")
        artifacts = {slot: self._record(key).files for slot, key in node.inputs.items()}
        attempt = Attempt(job, self._store.root, folder, stop_files, self._execution, artifacts)
        stage = self._store.stage(node.key)
        assert stage is not None
        self._running[node.key] = Running(node, attempt, self._packing.level, stage.checkpoint)
        self._journal.started(node, folder)
        return attempt

    def _record(self, key: str) -> Record:
        """The record of a committed stage."""
        record = self._store.record(key)
        assert record is not None
        return record

    # --- ending --------------------------------------------------------------------------------------------------

    def _settle(self, attempt: Attempt, outcome: Outcome | Lost) -> None:
        running = self._running.pop(attempt.job.key)
        if isinstance(outcome, Lost):
            self._ended_badly(running, Ended(outcome.how, "WorkerLost", outcome.message))
        elif outcome.status == "interrupted":
            self._interrupted(running)
        elif outcome.damaged_input:
            self._remake(running, outcome)
        elif outcome.status == "failed":
            if outcome.error_type == "OutOfMemoryError":  # torch's, of a GPU: with fewer beside it, it may fit
                self._packing.crowded(running.level)
            self._ended_badly(running, Ended("raised", outcome.error_type, outcome.message))
        else:
            self._commit(running, outcome)

    def _commit(self, running: Running, outcome: Outcome) -> None:
        node, number = running.node, attempt_number(running.attempt.folder)
        record = Record(
            key=node.key,
            kind=node.stage.kind,
            name=node.name,
            labels=node.labels,
            science=to_science(node.stage),
            inputs=dict(node.inputs),
            attempt=number,
            out=f"attempts/{number}/out",
            files=dict(outcome.files),
            results=outcome.results,
            seconds=outcome.seconds,
            finished_unix_s=time.time(),
            provenance={**code_provenance(), **outcome.machine},
        )
        try:
            committed = self._store.commit(record)
        except StoreError as error:  # an artifact is not there as the worker said
            self._ended_badly(running, Ended("raised", "StoreError", str(error)))
            return
        if committed.attempt != number:  # another driver was faster
            self._adopt(node)
            return
        self._packing.observe(committed)
        self._queue.done(node.key)
        self._journal.done(node, committed)

    def _adopt(self, node: Node) -> None:
        """Another driver has committed the stage."""
        self._queue.done(node.key)
        self._journal.adopted(node, self._record(node.key))

    def _interrupted(self, running: Running) -> None:
        """It stopped when asked to: with the sweep, because its machine is about to go, or because it was cancelled."""
        self._stop.look(closely=True)  # whoever asks all drivers to stop is seen by the stages first
        node, folder = running.node, running.attempt.folder
        if running.drained:
            self._ended_badly(running, Ended("drained", "Drained", "its machine is about to go"))
        elif not self._stop.asked and self._cancelled(node, folder):
            self._give_up(running, Ended("raised", "Cancelled", "by orchestrator.cancel"), Cause.CANCELLED)
        else:
            self._requeue(node)
            self._journal.interrupted(node, folder)

    def _cancelled(self, node: Node, folder: str) -> bool:
        """Whether this attempt itself was asked to stop, and not another probe of its group."""
        stage = self._store.look(node.key)
        return stage is not None and f"attempts/{attempt_number(folder)}/stop" in stage.files

    def _remake(self, running: Running, outcome: Outcome) -> None:
        """An input is not what its record says: it is made anew first, unless that was begun after it was read."""
        node, ended = running.node, Ended("raised", outcome.error_type, outcome.message)
        damaged = node.inputs[outcome.damaged_input]
        self._store.look(damaged)
        read = running.attempt.job.inputs[outcome.damaged_input]
        record = self._store.record(damaged, anew=True)
        found_first = record is not None and self._store.out(damaged) == read
        ranks = width(self._plan.nodes[damaged].stage)
        if ranks > max(self._foreseen, self._backend.devices):  # it would be waited for, for ever
            message = (
                f"{outcome.message}; making it anew takes {ranks} devices at once, and there are "
                f"{self._backend.devices}: set it aside with orchestrator.verify, and repeat the command where it fits"
            )
            self._ended_badly(running, replace(ended, message=message))
            return
        if found_first:
            self._remade[damaged] += 1
            if self._remade[damaged] > REMADE:
                message = f"{outcome.message}, for the {self._remade[damaged]}th time"
                self._ended_badly(running, replace(ended, message=message))
                return
            self._store.set_aside(damaged, outcome.message)
            self._journal.set_aside(self._plan.nodes[damaged], node, outcome.message)
        if self._queue.state[damaged] in FINISHED and (found_first or record is None):
            self._queue.reopen(damaged)
        self._journal.waits_for_its_input(node, running.attempt.folder, ended)
        self._requeue(node)

    def _ended_badly(self, running: Running, ended: Ended) -> None:
        node, stage = running.node, self._store.look(running.node.key)
        if stage is not None and RECORD in stage.files:  # another driver was faster, and did not fail
            self._adopt(node)
            return
        ended = replace(ended, advanced=stage is not None and stage.checkpoint > running.checkpoint)
        history = self._histories[node.key]
        decision = classify(ended, history)
        history.add(decision.cause, ended.advanced)
        if not decision.retry:
            self._give_up(running, ended, decision.cause, decision.reason)
            return
        self._journal.tried_again(node, running.attempt.folder, ended, decision)
        if decision.pause_s:
            self._queue.hold(node.key)
            self._retry_at_s[node.key] = time.monotonic() + decision.pause_s
        else:
            self._requeue(node)

    def _give_up(self, running: Running, ended: Ended, cause: Cause, reason: str = "") -> None:
        node = running.node
        self._journal.given_up(node, running.attempt.folder, ended, cause, reason)
        for key in self._queue.failed(node.key):
            self._journal.blocked(self._plan.nodes[key], by=node)

    def _requeue(self, node: Node) -> None:
        """Try a stage again, unless what it needs has failed meanwhile."""
        for key in self._queue.requeue(node.key):
            self._journal.blocked(self._plan.nodes[key], by=self._blocking(key))

    def _blocking(self, key: str) -> Node:
        """An input of a blocked stage that has failed, or is blocked itself."""
        inputs = self._plan.nodes[key].inputs.values()
        return next(self._plan.nodes[up] for up in inputs if self._queue.state[up] in GIVEN_UP)

    # --- looking around ------------------------------------------------------------------------------------------

    def _look_around(self) -> None:
        """At other drivers' work, and whether what runs here still moves."""
        self._claims.look()
        now = time.monotonic()
        for key in [key for key, state in self._queue.state.items() if state is State.HELD]:
            if key in self._retry_at_s:
                if now >= self._retry_at_s[key]:
                    del self._retry_at_s[key]
                    self._requeue(self._plan.nodes[key])
                continue
            others = self._claims.state(key)
            if others is Others.HAVE_DONE:
                self._adopt(self._plan.nodes[key])
            elif others is None:
                self._requeue(self._plan.nodes[key])
        self._supervision.look(self._running.values(), now)
