"""The ready queue: which stages may start, and which stages a failure blocks. Pure."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

from orchestrator.planning.identity import stage_key
from orchestrator.planning.plan import Plan
from orchestrator.scheduling.rank import first_probe, own_cost
from workers.stages import Probe
from workers.stages.kinds import width

Entry = tuple[float | tuple[float, int], float, str]
"""A ready stage in a heap: minus its rank and its position in the plan, or its first probe and minus its rank; key."""


class State(StrEnum):
    """The state of a stage in one sweep."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    HELD = "held"
    """Another driver runs it, or it waits for its next attempt."""
    CACHED = "cached"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"


MOST_PROBES = 8  # in a group: each probe holds its networks at all points of the path
UNSTARTED = (State.WAITING, State.READY)
FINISHED = (State.CACHED, State.DONE)
GIVEN_UP = (State.FAILED, State.BLOCKED)


class ReadyQueue:
    """Stages by state; a stage is ready when all its inputs are finished, and the highest rank starts first.

    Args:
        cached: keys of stages that were done before this sweep.

    Attributes:
        state: each stage's state, by key.
        counts: number of stages in each state.
        rank: as given.
        cost: of each stage alone, in the unit of ``rank``.
        unstarted: cost of all ready and waiting stages, times the devices that each takes.
    """

    def __init__(self, plan: Plan, rank: Mapping[str, float], cached: Iterable[str]) -> None:
        self._plan, self.rank = plan, rank
        self._dependents = plan.dependents()
        self._order = {key: index for index, key in enumerate(plan.nodes)}
        cached = set(cached)
        self.state = {key: State.CACHED if key in cached else State.WAITING for key in plan.nodes}
        self.counts = Counter(self.state.values())
        self.cost = own_cost(plan, rank)
        self.unstarted = sum(self._work(key) for key, state in self.state.items() if state in UNSTARTED)
        self._first_probe = first_probe(plan, self.cost, cached)
        self._early_heap: list[Entry] = []
        # an entry stays when its stage starts out of order; readers skip entries whose stage is not ready
        self._heap: list[Entry] = []
        self._settings: dict[str, str] = {}  # a probe's settings (its stage key without inputs), by the probe's key
        self._probe_heaps: dict[str, list[Entry]] = {}  # by settings
        self._ready_probes: Counter[str] = Counter()  # by settings
        self._started_probes: Counter[str] = Counter()  # by settings
        for key in plan.nodes:
            self._release(key)

    @property
    def active(self) -> bool:
        """Whether any stage is ready, running or held."""
        return any(self.counts[state] for state in (State.READY, State.RUNNING, State.HELD))

    def ready(self) -> Iterator[str]:
        """Ready stages, most urgent first; the first is cheap, every further one needs a sort of all."""
        first = self._first_ready(self._heap)
        if first is None:
            return
        yield first
        for _, _, key in sorted(set(self._heap)):  # a set: a stage that was tried again may have two entries
            if key != first and self.state[key] is State.READY:
                yield key

    def towards_a_probe(self) -> str | None:
        """Return a ready probe, or the ready stage that the nearest unfinished probe needs; None if there is neither.

        The first probe is returned at once. Later ones wait until as many are ready as have started, up to
        ``MOST_PROBES``: each group reads the data once.
        """
        for settings, ready in self._ready_probes.items():
            if ready and ready >= min(MOST_PROBES, self._started_probes[settings]):
                return self._first_ready(self._probe_heaps[settings])
        return self._first_ready(self._early_heap)

    def start(self, key: str) -> None:
        """Start a ready stage, in or out of order."""
        if key in self._settings:
            self._started_probes[self._settings[key]] += 1
        self._move(key, State.RUNNING)

    def count_like(self, key: str) -> int:
        """Number of ready probes with this probe's settings, including this probe while it is ready."""
        return self._ready_probes[self._settings[key]]

    def pop_like(self, key: str, most: int) -> list[str]:
        """Start at most ``most`` ready probes with this probe's settings; only their inputs differ."""
        heap, started = self._probe_heaps[self._settings[key]], list[str]()
        while heap and len(started) < most:
            other = heapq.heappop(heap)[2]
            if self.state[other] is State.READY:
                self.start(other)
                started.append(other)
        return started

    def hold(self, key: str) -> None:
        """Hold a running stage, for another driver or its next attempt, until ``requeue`` or ``done``."""
        self._move(key, State.HELD)

    def reopen(self, key: str) -> None:
        """Compute a finished stage again; its ready dependents wait for it again."""
        for dependent in self._dependents[key]:
            if self.state[dependent] is State.READY:
                self._move(dependent, State.WAITING)
        self.requeue(key)

    def done(self, key: str) -> None:
        """Record that a running or held stage was committed."""
        self._move(key, State.DONE)
        for dependent in self._dependents[key]:
            self._release(dependent)

    def requeue(self, key: str) -> list[str]:
        """Try a running or held stage again as soon as its inputs are finished.

        Returns:
            Keys of the stage and its descendants, now blocked, if an input was computed again and failed; else none.
        """
        self._move(key, State.WAITING)
        if any(self.state[up] in GIVEN_UP for up in self._plan.nodes[key].inputs.values()):
            return self._block([key])
        self._release(key)
        return []

    def failed(self, key: str) -> list[str]:
        """Record that a running stage failed for good; block its descendants and return them."""
        self._move(key, State.FAILED)
        return self._block(self._dependents[key])

    def _block(self, keys: Iterable[str]) -> list[str]:
        """Block the waiting stages among these and all their descendants."""
        blocked: list[str] = []
        to_block = list(keys)
        while to_block:
            descendant = to_block.pop()
            if self.state[descendant] is State.WAITING:
                self._move(descendant, State.BLOCKED)
                blocked.append(descendant)
                to_block.extend(self._dependents[descendant])
        return blocked

    def _release(self, key: str) -> None:
        node = self._plan.nodes[key]
        if self.state[key] is not State.WAITING or any(self.state[up] not in FINISHED for up in node.inputs.values()):
            return
        self._move(key, State.READY)
        entry = (-self.rank[key], self._order[key], key)
        heapq.heappush(self._heap, entry)
        if isinstance(node.stage, Probe):
            heapq.heappush(self._probe_heaps.setdefault(self._settings[key], []), entry)
        elif math.isfinite(self._first_probe[key][0]):
            heapq.heappush(self._early_heap, (self._first_probe[key], -self.rank[key], key))

    def _move(self, key: str, state: State) -> None:
        before, self.state[key] = self.state[key], state
        self.counts[before] -= 1
        self.counts[state] += 1
        self.unstarted += self._work(key) * ((state in UNSTARTED) - (before in UNSTARTED))
        stage = self._plan.nodes[key].stage
        if isinstance(stage, Probe):
            if key not in self._settings:
                self._settings[key] = stage_key(stage, {})
            self._ready_probes[self._settings[key]] += (state is State.READY) - (before is State.READY)

    def _first_ready(self, heap: list[Entry]) -> str | None:
        """The first ready stage of a heap; entries before it are dropped."""
        while heap and self.state[heap[0][2]] is not State.READY:
            heapq.heappop(heap)
        return heap[0][2] if heap else None

    def _work(self, key: str) -> float:
        return self.cost[key] * width(self._plan.nodes[key].stage)
