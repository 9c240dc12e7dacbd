"""The ready queue: which stage may start next, and what a failure blocks. Pure."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

from orchestrator.planning.identity import stage_key
from orchestrator.planning.plan import Plan
from workers.stages import Probe

Entry = tuple[float, int, str]
"""A ready stage in a heap: minus its rank, its place in the plan, its key."""


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
GIVEN_UP = (State.FAILED, State.BLOCKED)


class ReadyQueue:
    """Stages by state; a stage is ready when all its inputs are finished, and the highest rank goes first.

    Args:
        cached: keys that are done already.

    Attributes:
        state: where each stage stands, by key.
        counts: how many stages stand where.
    """

    def __init__(self, plan: Plan, rank: Mapping[str, float], cached: Iterable[str]) -> None:
        self._plan, self._rank = plan, rank
        self._dependents = plan.dependents()
        self._order = {key: index for index, key in enumerate(plan.nodes)}
        held = set(cached)
        self.state = {key: State.CACHED if key in held else State.WAITING for key in plan.nodes}
        self.counts = Counter(self.state.values())
        # an entry stays when its stage is started out of turn; one whose stage is not ready is passed over
        self._heap: list[Entry] = []
        self._probes: dict[str, str] = {}  # what a probe is but for its inputs, by its key
        self._alike: dict[str, list[Entry]] = {}
        self._ready_alike: Counter[str] = Counter()
        for key in plan.nodes:
            self._release(key)

    @property
    def active(self) -> bool:
        """Whether anything is ready, running or held."""
        return any(self.counts[state] for state in (State.READY, State.RUNNING, State.HELD))

    def ready(self) -> Iterator[str]:
        """Ready stages, the most urgent first; the first one costs next to nothing, a further one a sort of all."""
        while self._heap and self.state[self._heap[0][2]] is not State.READY:
            heapq.heappop(self._heap)
        if not self._heap:
            return
        first = self._heap[0][2]
        yield first
        for _, _, key in sorted(set(self._heap)):  # a set: one that was tried again may have an entry from before
            if key != first and self.state[key] is State.READY:
                yield key

    def pop(self) -> str | None:
        """Start the most urgent ready stage; None when none is ready."""
        key = next(self.ready(), None)
        if key is not None:
            self.start(key)
        return key

    def start(self, key: str) -> None:
        """Start a ready stage, in turn or out of it."""
        self._move(key, State.RUNNING)

    def count_like(self, key: str) -> int:
        """How many ready probes differ from this probe in their inputs alone; it counts as one while it is ready."""
        return self._ready_alike[self._probes[key]]

    def pop_like(self, key: str, most: int) -> list[str]:
        """Start up to so many of the ready probes that differ from this one in their inputs alone."""
        heap, started = self._alike[self._probes[key]], list[str]()
        while heap and len(started) < most:
            other = heapq.heappop(heap)[2]
            if self.state[other] is State.READY:
                self.start(other)
                started.append(other)
        return started

    def hold(self, key: str) -> None:
        """A stage that was started waits, for another driver or for its next try, until ``requeue`` or ``done``."""
        self._move(key, State.HELD)

    def reopen(self, key: str) -> None:
        """A finished stage is to be made anew; what is ready behind it waits for it again."""
        for dependent in self._dependents[key]:
            if self.state[dependent] is State.READY:
                self._move(dependent, State.WAITING)
        self.requeue(key)

    def done(self, key: str) -> None:
        """A running or held stage was committed."""
        self._move(key, State.DONE)
        for dependent in self._dependents[key]:
            self._release(dependent)

    def requeue(self, key: str) -> list[str]:
        """A running or held stage is to be tried again, as soon as its inputs are there.

        Returns:
            What is blocked instead, with its descendants, if an input that was made anew has failed meanwhile.
        """
        self._move(key, State.WAITING)
        if any(self.state[up] in GIVEN_UP for up in self._plan.nodes[key].inputs.values()):
            return self._block([key])
        self._release(key)
        return []

    def failed(self, key: str) -> list[str]:
        """A running stage failed for good; its descendants are blocked, and returned."""
        self._move(key, State.FAILED)
        return self._block(self._dependents[key])

    def _block(self, keys: Iterable[str]) -> list[str]:
        """Block what is waiting of these, and of all that is behind them."""
        blocked: list[str] = []
        behind = list(keys)
        while behind:
            descendant = behind.pop()
            if self.state[descendant] is State.WAITING:
                self._move(descendant, State.BLOCKED)
                blocked.append(descendant)
                behind.extend(self._dependents[descendant])
        return blocked

    def _release(self, key: str) -> None:
        node = self._plan.nodes[key]
        if self.state[key] is not State.WAITING or any(self.state[up] not in FINISHED for up in node.inputs.values()):
            return
        self._move(key, State.READY)
        entry = (-self._rank[key], self._order[key], key)
        heapq.heappush(self._heap, entry)
        if isinstance(node.stage, Probe):
            heapq.heappush(self._alike.setdefault(self._probes[key], []), entry)

    def _move(self, key: str, state: State) -> None:
        before, self.state[key] = self.state[key], state
        self.counts[before] -= 1
        self.counts[state] += 1
        stage = self._plan.nodes[key].stage
        if isinstance(stage, Probe):
            if key not in self._probes:
                self._probes[key] = stage_key(stage, {})
            self._ready_alike[self._probes[key]] += (state is State.READY) - (before is State.READY)
