"""Tells what becomes of stages: the person who watches, the event log, and of failures the store."""

from __future__ import annotations

import time

from orchestrator.driver.failures import Decision, Ended
from orchestrator.planning.plan import Node
from orchestrator.store import Store
from orchestrator.store.events import EventLog
from orchestrator.store.record import Cause, Failure, Record
from orchestrator.terminal.progress import Progress


class Journal:
    """One driver's.

    Attributes:
        failures: of stages that were given up, in the order in which that happened.
    """

    def __init__(self, store: Store, driver: str, progress: Progress) -> None:
        self._store, self._progress = store, progress
        self._events = EventLog(store.storage, driver)
        self.failures: list[Failure] = []

    def started(self, node: Node, folder: str) -> None:
        """An attempt was submitted."""
        self._progress.started(node)
        self._event("started", node, attempt=attempt_number(folder))

    def done(self, node: Node, record: Record) -> None:
        """A stage was committed."""
        self._progress.ended(node, record.seconds, record.results)
        self._event("done", node, attempt=record.attempt, seconds=record.seconds)

    def adopted(self, node: Node, record: Record) -> None:
        """Another driver had committed a stage."""
        self._progress.adopted(node, record.results)

    def interrupted(self, node: Node, folder: str) -> None:
        """An attempt checkpointed and stopped with the sweep."""
        self._store.interrupted(folder, "stopped")
        self._progress.interrupted(node)
        self._event("interrupted", node, attempt=attempt_number(folder))

    def tried_again(self, node: Node, folder: str, ended: Ended, decision: Decision) -> None:
        """An attempt ended badly, and there will be another."""
        self._keep(node, folder, decision.cause, ended)
        self._ended(node, folder, ended, decision.cause, decision.reason, retry=True)

    def given_up(self, node: Node, folder: str, ended: Ended, cause: Cause, reason: str = "") -> None:
        """An attempt ended badly, and it was the last."""
        self.failures.append(self._keep(node, folder, cause, ended))
        self._ended(node, folder, ended, cause, reason, retry=False)

    def set_aside(self, damaged: Node, found_by: Node, why: str) -> None:
        """A stage's files are not what its record says."""
        self._event("damaged", damaged, found_by=found_by.name, error=why)

    def waits_for_its_input(self, node: Node, folder: str, ended: Ended) -> None:
        """An attempt could not read an input, which is made anew first."""
        self._keep(node, folder, Cause.DAMAGED_INPUT, ended)
        self._progress.failed(node, f"{ended.message}; it is made anew")

    def draining(self, node: Node, machine: str) -> None:
        """An attempt was told to checkpoint, because its machine is about to go."""
        self._event("draining", node, machine=machine)

    def blocked(self, node: Node, by: Node) -> None:
        """A stage cannot be run, because another failed."""
        self._event("blocked", node, by=by.name)

    def idle(self, why: str) -> None:
        """Nothing has run for a while."""
        self._progress.notice(why)

    def flush(self) -> None:
        """Write what is pending."""
        self._events.write()

    def _ended(self, node: Node, folder: str, ended: Ended, cause: Cause, reason: str, *, retry: bool) -> None:
        text = f"{ended.error_type}: {ended.message}"
        self._event("failed", node, attempt=attempt_number(folder), error=text, cause=cause, retry=retry)
        self._progress.failed(node, f"{text}  ({reason})" if reason else text)

    def _keep(self, node: Node, folder: str, cause: Cause, ended: Ended) -> Failure:
        failure = Failure(
            key=node.key,
            name=node.name,
            attempt=attempt_number(folder),
            error_type=ended.error_type,
            message=ended.message,
            log=f"{folder}/log.txt",
            finished_unix_s=time.time(),
            cause=cause,
        )
        self._store.fail(folder, failure)
        return failure

    def _event(self, event: str, node: Node, **details: object) -> None:
        line = {"time_unix_s": time.time(), "event": event, "key": node.key, "name": node.name, **details}
        self._events.add(line)
        self._events.write_due()


def attempt_number(folder: str) -> int:
    """An attempt's number, by its folder."""
    return int(folder.rpartition("/")[2])
