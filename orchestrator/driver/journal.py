"""Reports what becomes of stages: to the panel, to the event log, and failures to the store."""

from __future__ import annotations

import time

from orchestrator.driver.failures import Decision, Ended
from orchestrator.planning.plan import Node
from orchestrator.store import Store
from orchestrator.store.events import EventLog
from orchestrator.store.record import Cause, Failure, Record
from orchestrator.terminal.progress import ProgressPanel

EVERYDAY = ("started", "done")
"""Events that may be written a moment later: if this driver is killed meanwhile, claims and records tell them too."""


class Journal:
    """One driver's reports; each method is one thing that happened.

    Attributes:
        failures: the last failure of each stage that was given up, in their order.
    """

    def __init__(self, store: Store, driver: str, panel: ProgressPanel) -> None:
        self._store, self._panel = store, panel
        self.events = EventLog(store.storage, driver)
        self.failures: list[Failure] = []

    def started(self, node: Node, folder: str) -> None:
        """An attempt was submitted."""
        self._panel.started(node)
        self.event("started", node, attempt=attempt_number(folder))

    def done(self, node: Node, record: Record) -> None:
        """A stage was committed."""
        self._panel.ended(node, record.seconds, record.results)
        self.event("done", node, attempt=record.attempt, seconds=record.seconds)

    def adopted(self, node: Node, record: Record) -> None:
        """Another driver had committed a stage."""
        self._panel.adopted(node, record.results)

    def interrupted(self, node: Node, folder: str) -> None:
        """An attempt checkpointed and stopped with the sweep."""
        self._store.write_interruption(folder, "stopped")
        self._panel.interrupted(node)
        self.event("interrupted", node, attempt=attempt_number(folder))

    def failed(self, node: Node, folder: str, ended: Ended, decision: Decision) -> None:
        """An attempt ended badly; another follows, or the stage is given up."""
        failure = self._write_failure(node, folder, decision.cause, ended)
        if not decision.retry:
            self.failures.append(failure)
        text, cause, retry = f"{ended.error_type}: {ended.message}", decision.cause, decision.retry
        self.event("failed", node, attempt=attempt_number(folder), error=text, cause=cause, retry=retry)
        self._panel.failed(node, f"{text}  ({decision.reason})" if decision.reason else text)

    def waits_for_its_input(self, node: Node, folder: str, ended: Ended) -> None:
        """An attempt could not read an input, which is computed again first."""
        self._write_failure(node, folder, Cause.DAMAGED_INPUT, ended)
        self._panel.failed(node, f"{ended.message}; it is computed again")

    def _write_failure(self, node: Node, folder: str, cause: Cause, ended: Ended) -> Failure:
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
        self._store.write_failure(folder, failure)
        return failure

    def event(self, event: str, node: Node, **details: object) -> None:
        """Log an event that the panel does not show."""
        self.events.add({"time_unix_s": time.time(), "event": event, "key": node.key, "name": node.name, **details})
        if event not in EVERYDAY and self._store.storage.folder is not None:
            self.events.write()
        else:
            self.events.write_due()


def attempt_number(folder: str) -> int:
    """An attempt's number, from its folder."""
    return int(folder.rpartition("/")[2])
