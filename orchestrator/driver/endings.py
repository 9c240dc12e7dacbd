"""What follows the end of an attempt: a commit, another try, or giving the stage up."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import replace

from pydantic import ValidationError

from orchestrator.backends.base import Backend, Lost
from orchestrator.driver.failures import Decision, Ended, History, classify
from orchestrator.driver.journal import Journal
from orchestrator.driver.supervision import InFlight
from orchestrator.planning.plan import Node, Plan
from orchestrator.scheduling.packing import Packing
from orchestrator.scheduling.queue import FINISHED, GIVEN_UP, ReadyQueue
from orchestrator.store import Store, StoreError
from orchestrator.store.leases import HeldLease
from orchestrator.store.provenance import code_provenance
from orchestrator.store.record import Cause, Record
from workers.attempts.attempt import Outcome
from workers.stages import to_science
from workers.stages.kinds import width
from workers.storage import UnreadableFileError

MOST_RECOMPUTATIONS = 2  # of one stage in one sweep, because its files were found damaged


class Endings:
    """Moves stages on when their attempts end: in the queue, the store and the journal.

    Attributes:
        retry_at_s: by key, for held stages that pause before their next try; others are held for another driver.
    """

    def __init__(
        self,
        plan: Plan,
        queue: ReadyQueue,
        store: Store,
        lease: HeldLease,
        backend: Backend,
        packing: Packing,
        journal: Journal,
    ) -> None:
        self._plan, self._queue, self._store, self._lease = plan, queue, store, lease
        self._backend, self._packing, self._journal = backend, packing, journal
        self._histories: defaultdict[str, History] = defaultdict(History)
        self._recomputations: Counter[str] = Counter()
        self.retry_at_s: dict[str, float] = {}
        unfinished = (node for node in self._plan if self._queue.state[node.key] not in FINISHED)
        self._checked_ranks = max((width(node.stage) for node in unfinished), default=1)  # the backend has room for it

    def end_pauses(self, now_s: float) -> None:
        """Requeue the stages whose pause is over."""
        for key in [key for key, retry_at_s in self.retry_at_s.items() if now_s >= retry_at_s]:
            del self.retry_at_s[key]
            self.requeue(self._plan.nodes[key])

    def settle(self, attempt: InFlight, outcome: Outcome | Lost) -> None:
        """Act on how an attempt ended."""
        if isinstance(outcome, Lost):
            self._ended_badly(attempt, Ended(outcome.how, "WorkerLost", outcome.message))
        elif outcome.status == "interrupted":
            self._interrupted(attempt)
        elif outcome.damaged_input:
            self._recompute_input(attempt, outcome)
        elif outcome.status == "failed":
            if outcome.error_type == "OutOfMemoryError":  # of a GPU: beside fewer stages it may fit
                self._packing.crowded(attempt.level)
            self._ended_badly(attempt, Ended("raised", outcome.error_type, outcome.message))
        else:
            self._commit(attempt, outcome)

    def adopt(self, node: Node) -> None:
        """Take over the record that another driver has committed."""
        self._queue.done(node.key)
        self._journal.adopted(node, self._store.committed(node.key))

    def requeue(self, node: Node) -> None:
        """Try a stage again, unless an input has failed meanwhile."""
        for key in self._queue.requeue(node.key):
            blocked = self._plan.nodes[key]
            by = next(self._plan.nodes[up] for up in blocked.inputs.values() if self._queue.state[up] in GIVEN_UP)
            self._journal.event("blocked", blocked, by=by.name)

    def _commit(self, attempt: InFlight, outcome: Outcome) -> None:
        node, number = attempt.node, attempt.number
        try:
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
            committed = self._store.commit(record)
        except ValidationError as error:  # such as a plugin's number that no record may hold
            first = error.errors()[0]
            what = ".".join(map(str, first["loc"]))
            self._ended_badly(attempt, Ended("raised", "ValueError", f"no record may hold this {what}: {first['msg']}"))
            return
        except (
            StoreError,
            UnreadableFileError,
        ) as error:  # an artifact is missing or cut short, or a folder in the way
            self._ended_badly(attempt, Ended("raised", "StoreError", str(error)))
            return
        if committed.attempt != number:  # another driver was faster
            self.adopt(node)
            return
        self._packing.observe(committed)
        self._queue.done(node.key)
        self._journal.done(node, committed)

    def _interrupted(self, attempt: InFlight) -> None:
        """An attempt stopped when asked to: with the sweep, for its draining machine, or because it was cancelled."""
        stop_file = f"{attempt.folder}/stop"  # asks this attempt itself to stop, and not another probe of its group
        with suppress(OSError):
            self._lease.check()  # if all drivers are asked to stop, the stages see it first
        if attempt.drained:
            self._ended_badly(attempt, Ended("drained", "Drained", "its machine is about to go"))
        elif not self._lease.stopping and stop_file in self._store.storage.listing(attempt.folder):
            cancelled = Ended("raised", "Cancelled", "by orchestrator.cancel")
            self._give_up(attempt, cancelled, Decision(Cause.CANCELLED, retry=False, reason=""))
        else:
            self.requeue(attempt.node)
            self._journal.interrupted(attempt.node, attempt.folder)

    def _recompute_input(self, attempt: InFlight, outcome: Outcome) -> None:
        """Quarantine a damaged input and compute it again, unless that began after this attempt read it."""
        node, ended = attempt.node, Ended("raised", outcome.error_type, outcome.message)
        damaged = node.inputs[outcome.damaged_input]
        self._store.list_files(damaged)
        record = self._store.record(damaged, reread=True)
        first_report = (
            record is not None and self._store.out(damaged) == attempt.attempt.job.inputs[outcome.damaged_input]
        )
        ranks = width(self._plan.nodes[damaged].stage)
        if ranks > max(self._checked_ranks, self._backend.devices):  # the stage would wait for ever
            message = (
                f"{outcome.message}; computing it again takes {ranks} devices at once, and there are "
                f"{self._backend.devices}: quarantine it with orchestrator.verify, and repeat the command where it fits"
            )
            self._ended_badly(attempt, replace(ended, message=message))
            return
        if first_report:
            self._recomputations[damaged] += 1
            if self._recomputations[damaged] > MOST_RECOMPUTATIONS:
                message = f"{outcome.message}, for the {self._recomputations[damaged]}th time"
                self._ended_badly(attempt, replace(ended, message=message))
                return
            self._store.quarantine(damaged, outcome.message)
            self._journal.event("damaged", self._plan.nodes[damaged], found_by=node.name, error=outcome.message)
        if self._queue.state[damaged] in FINISHED and (first_report or record is None):
            self._queue.reopen(damaged)
        self._journal.waits_for_its_input(node, attempt.folder, ended)
        self.requeue(node)

    def _ended_badly(self, attempt: InFlight, ended: Ended) -> None:
        node, stage = attempt.node, self._store.list_files(attempt.node.key)
        if stage is not None and stage.done:  # another driver has committed the stage
            self.adopt(node)
            return
        ended = replace(ended, advanced=stage is not None and stage.checkpoint > attempt.checkpoint)
        history = self._histories[node.key]
        decision = classify(ended, history)
        history.add(decision.cause, ended.advanced)
        if not decision.retry:
            self._give_up(attempt, ended, decision)
            return
        self._journal.failed(node, attempt.folder, ended, decision)
        if decision.pause_s:
            self._queue.hold(node.key)
            self.retry_at_s[node.key] = time.monotonic() + decision.pause_s
        else:
            self.requeue(node)

    def _give_up(self, attempt: InFlight, ended: Ended, decision: Decision) -> None:
        self._journal.failed(attempt.node, attempt.folder, ended, decision)
        for key in self._queue.failed(attempt.node.key):
            self._journal.event("blocked", self._plan.nodes[key], by=attempt.node.name)
