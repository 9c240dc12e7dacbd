"""What starts next: in order of urgency, never on more devices than there are, and wide stages in their turn."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.planning.plan import Node, Plan
from orchestrator.recipes import Recipe
from orchestrator.scheduling.queue import ReadyQueue
from orchestrator.scheduling.rank import cost_epochs, upward_rank
from orchestrator.scheduling.scheduler import Scheduler
from tests.orchestrator.recipes.small_recipes import plan_of, recipe, recipes

MANY = settings(max_examples=60, deadline=None)


@dataclass
class Line:
    """Dense trainings, which wait for nothing: seed 1 is the most urgent, then seed 2, …

    Attributes:
        stages: devices and seconds of each, in that order; None where the time is unknown.
    """

    stages: list[tuple[int, float | None]]
    plan: Plan = field(init=False)

    def __post_init__(self) -> None:
        whole = plan_of(recipe(methods=("aws",), seeds=len(self.stages), transfer_rounds=(), probe_rounds=()))
        self.plan = Plan({node.key: node for node in whole if node.labels.transfer == "dense"})
        self.queue = ReadyQueue(self.plan, {key: -float(i) for i, key in enumerate(self.plan.nodes)}, [])
        self.scheduler = Scheduler(
            self.plan, self.queue, lambda node: self._of(node)[0], lambda node: self._of(node)[1]
        )

    def _of(self, node: Node) -> tuple[int, float | None]:
        return self.stages[(node.labels.seed or 0) - 1]

    def start(self, room: int, now_s: float) -> list[int]:
        """Everything that starts now, by seed."""
        seeds = []
        while keys := self.scheduler.start(room, now_s):
            seeds += [self.plan.nodes[key].labels.seed or 0 for key in keys]
        return seeds

    def end(self, seed: int) -> None:
        key = next(node.key for node in self.plan if node.labels.seed == seed)
        self.scheduler.ended(key)
        self.queue.done(key)


@pytest.mark.parametrize(
    ("stages", "room", "started"),
    [
        ([(1, 9), (1, 9), (1, 9)], 2, [1, 2]),
        ([(2, 9), (1, 9)], 2, [1]),
        ([(1, 9), (2, 5), (1, 5)], 2, [1, 3]),  # 3 ends before 1 does, and 2 needs both devices
        ([(1, 9), (2, 5), (1, 9)], 2, [1, 3]),
        ([(1, 9), (2, 5), (1, 10)], 2, [1]),
        ([(1, 9), (2, 5), (1, 10), (1, 8)], 2, [1, 4]),
        ([(1, 9), (2, 5), (1, None)], 2, [1]),
        ([(1, None), (2, 5), (1, 1)], 2, [1]),  # when 2 gets its devices is anybody's guess
        ([(2, 9), (3, 5), (1, 99), (1, 99)], 4, [1, 3]),  # one is left over beside 2, and no more than one
        ([(1, 9), (1, 20), (3, 5), (1, 8), (1, 8)], 4, [1, 2, 4, 5]),
        ([(5, 9), (1, 9)], 4, [2]),  # wider than what is there
    ],
)
def test_what_starts_at_once(stages: list[tuple[int, float | None]], room: int, started: list[int]) -> None:
    assert Line(stages).start(room, 100.0) == started


def test_a_wide_stage_starts_when_its_devices_are_free() -> None:
    line = Line([(1, 9), (2, 5), (1, 4), (1, 4), (1, 4)])
    assert line.start(2, 0.0) == [1, 3]
    line.end(3)
    assert line.start(2, 4.0) == [4]
    line.end(4)
    assert line.start(2, 8.0) == []  # 5 would end too late
    line.end(1)
    assert line.start(2, 9.0) == [2]
    line.end(2)
    assert line.start(2, 14.0) == [5]


def test_nothing_goes_before_a_wide_stage_whose_moment_has_passed() -> None:
    line = Line([(1, 9), (2, 5), (1, 1)])
    assert line.start(2, 0.0) == [1, 3]
    line = Line([(1, 9), (2, 5), (1, 1), (1, 1)])
    line.start(1, 0.0)
    assert line.start(2, 9.5) == []  # 1 takes longer than thought


def test_devices_that_went_away_are_not_given_out() -> None:
    line = Line([(1, 9), (1, 9), (1, 9)])
    assert line.start(2, 0.0) == [1, 2]
    line.end(1)
    assert line.start(1, 1.0) == []
    line.end(2)
    assert line.start(1, 2.0) == [3]


@MANY
@given(recipes(), st.data())
def test_it_never_oversubscribes_and_runs_everything(recipe_: Recipe, data: st.DataObject) -> None:
    """Whatever the widths, and however wrong the estimates."""
    plan = plan_of(recipe_)
    random = data.draw(st.randoms(use_true_random=False))
    room = data.draw(st.integers(1, 6))
    width = {key: random.choice([1, 1, 1, random.randint(1, room)]) for key in plan.nodes}
    thought = {key: random.choice([None, 1.0, random.uniform(0.1, 9)]) for key in plan.nodes}
    queue = ReadyQueue(plan, upward_rank(plan), [])
    scheduler = Scheduler(plan, queue, lambda node: width[node.key], lambda node: thought[node.key])
    running: list[tuple[float, list[str]]] = []
    now_s, ran = 0.0, []
    while queue.active:
        while keys := scheduler.start(room, now_s):
            heapq.heappush(running, (now_s + random.uniform(0.1, 20), keys))
            assert sum(width[group[0]] for _, group in running) <= room
        assert running, "active, and nothing was started"
        now_s, keys = heapq.heappop(running)
        scheduler.ended(keys[0])
        for key in keys:
            queue.done(key)
            ran.append(key)
    assert sorted(ran) == sorted(plan.nodes)


@MANY
@given(st.data())
def test_a_wide_stage_is_never_starved(data: st.DataObject) -> None:
    """Among narrow work without end: nothing starts past its first moment, and it keeps it if estimates are right."""
    room = data.draw(st.integers(2, 6))
    right = data.draw(st.booleans())
    random = data.draw(st.randoms(use_true_random=False))
    before = [(1, random.uniform(1, 9)) for _ in range(random.randint(1, room))]
    wide = len(before) + 1
    needed = random.randint(room - len(before) + 1, room)
    line = Line([*before, (needed, 5.0), *((1, random.choice([0.5, random.uniform(0.1, 20)])) for _ in range(60))])

    def takes(seed: int) -> float:
        thought = line.stages[seed - 1][1] or 0.0
        return thought if right else thought * random.uniform(0.2, 9)

    ends = sorted(seconds or 0.0 for _, seconds in before)
    moment = ends[needed - (room - len(before)) - 1]
    running: list[tuple[float, int]] = []
    now_s = 0.0
    while True:
        started = line.start(room, now_s)
        for seed in started:
            assert seed <= wide or now_s < moment or wide in started
            heapq.heappush(running, (now_s + takes(seed), seed))
        if wide in started:
            break
        now_s, seed = heapq.heappop(running)
        line.end(seed)
    assert not right or now_s <= moment + 1e-9


@MANY
@given(recipes(), st.integers(1, 9))
def test_narrow_work_never_waits_while_a_device_is_free(recipe_: Recipe, room: int) -> None:
    plan = plan_of(recipe_)
    queue = ReadyQueue(plan, upward_rank(plan), [])
    scheduler = Scheduler(plan, queue)
    running: list[list[str]] = []
    while queue.active:
        while keys := scheduler.start(room, math.nan):
            running.append(keys)
        assert len(running) == room or next(queue.ready(), None) is None
        keys = running.pop(0)
        scheduler.ended(keys[0])
        for key in keys:
            queue.done(key)


def test_of_equals_the_longest_way_to_the_end_starts_first() -> None:
    plan = plan_of(recipe(rounds=3, transfer_rounds=(1, 2, 3), probe_rounds=(3,)))
    rank = upward_rank(plan)
    scheduler = Scheduler(plan, ReadyQueue(plan, rank, []))
    (first,) = scheduler.start(1, 0.0)
    assert rank[first] == max(rank.values())
    assert rank[first] > cost_epochs(plan.nodes[first].stage)


def test_a_device_that_is_free_alone_takes_half_its_share_of_all_devices_of_the_probes() -> None:
    plan = plan_of(recipe(rounds=3, seeds=3, transfer_rounds=(1, 2, 3), probe_rounds=(1, 2, 3)))
    probes = [node.key for node in plan if node.stage.kind == "probe"]
    queue = ReadyQueue(plan, dict.fromkeys(plan.nodes, 0.0), plan.nodes.keys() - set(probes))
    groups = []
    scheduler = Scheduler(plan, queue)
    room = 8
    while keys := scheduler.start(room, math.nan):
        groups.append(len(keys))
        room += 1 if scheduler.busy == room else 0  # from now on one device is free at a time
    assert groups[0] == -(-len(probes) // (2 * 8))
    assert sum(groups) == len(probes)
    # each takes of what is left, so that the last ones are short and all end alike
    assert groups == sorted(groups, reverse=True)
    assert groups[-1] == 1
