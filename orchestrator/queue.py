"""The ready queue: which stage may start next, and what a failure blocks. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum

from orchestrator.plan import Plan


class State(StrEnum):
    """Where a stage stands in one sweep."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    HELD = "held"
    """Another driver is at it, or it waits for its next try."""
    CACHED = "cached"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"


FINISHED = (State.CACHED, State.DONE)


class ReadyQueue:
    """Stages by state; a stage is ready when all its inputs are finished, and the highest rank goes first.

    Args:
        cached: keys that are done already.
    """

    def __init__(self, plan: Plan, rank: Mapping[str, float], cached: Iterable[str]) -> None:
        self._plan, self._rank = plan, rank
        self._dependents = plan.dependents()
        self._order = {key: index for index, key in enumerate(plan.nodes)}
        held = set(cached)
        self.state = {key: State.CACHED if key in held else State.WAITING for key in plan.nodes}
        self._heap: list[tuple[float, int, str]] = []
        for key in plan.nodes:
            self._release(key)

    @property
    def active(self) -> bool:
        """Whether anything is ready, running or held."""
        return any(state in (State.READY, State.RUNNING, State.HELD) for state in self.state.values())

    def pop(self) -> str | None:
        """Start the most urgent ready stage; None when none is ready."""
        while self._heap:
            key = heapq.heappop(self._heap)[2]
            if self.state[key] is State.READY:
                self.state[key] = State.RUNNING
                return key
        return None

    def ready_like(self, key: str) -> list[str]:
        """Ready stages that differ from this one in their inputs alone, the most urgent first."""
        stage = self._plan.nodes[key].stage
        alike = (
            other
            for _, _, other in sorted(self._heap)
            if self.state[other] is State.READY and self._plan.nodes[other].stage == stage
        )
        return list(dict.fromkeys(alike))  # one that waited again is on the heap twice

    def start(self, keys: Collection[str]) -> None:
        """Start some ready stages out of turn."""
        self._heap = [entry for entry in self._heap if entry[2] not in keys]
        heapq.heapify(self._heap)
        for key in keys:
            self.state[key] = State.RUNNING

    def hold(self, key: str) -> None:
        """A stage that was started waits, for another driver or for its next try, until ``requeue`` or ``done``."""
        self.state[key] = State.HELD

    def reopen(self, key: str) -> None:
        """A finished stage is to be made anew; what is ready behind it waits for it again."""
        for dependent in self._dependents[key]:
            if self.state[dependent] is State.READY:
                self.state[dependent] = State.WAITING
        self.requeue(key)

    def done(self, key: str) -> None:
        """A running or held stage was committed."""
        self.state[key] = State.DONE
        for dependent in self._dependents[key]:
            self._release(dependent)

    def requeue(self, key: str) -> None:
        """A running or held stage is to be tried again, as soon as its inputs are there."""
        self.state[key] = State.WAITING
        self._release(key)

    def failed(self, key: str) -> list[str]:
        """A running stage failed for good; its descendants are blocked, and returned."""
        self.state[key] = State.FAILED
        blocked: list[str] = []
        behind = list(self._dependents[key])
        while behind:
            descendant = behind.pop()
            if self.state[descendant] is State.WAITING:
                self.state[descendant] = State.BLOCKED
                blocked.append(descendant)
                behind.extend(self._dependents[descendant])
        return blocked

    def _release(self, key: str) -> None:
        inputs = self._plan.nodes[key].inputs.values()
        if self.state[key] is State.WAITING and all(self.state[upstream] in FINISHED for upstream in inputs):
            self.state[key] = State.READY
            heapq.heappush(self._heap, (-self._rank[key], self._order[key], key))
