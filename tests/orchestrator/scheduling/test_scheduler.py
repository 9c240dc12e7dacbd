"""The scheduler starts stages by urgency, never oversubscribes devices, and never starves wide stages."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.planning.plan import Node, Plan
from orchestrator.recipes.recipe import Recipe
from orchestrator.scheduling.queue import ReadyQueue
from orchestrator.scheduling.rank import cost_epochs, upward_rank
from orchestrator.scheduling.scheduler import Scheduler
from tests.orchestrator.recipes.small_recipes import plan_of, recipe, recipes

MANY = settings(max_examples=60, deadline=None)


@dataclass
class Line:
    """Independent dense trainings; seed 1 is the most urgent, then seed 2, …

    Attributes:
        stages: devices and seconds of each training; None if the duration is unknown.
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

    def start(self, capacity: int, now_s: float) -> list[int]:
        """Seeds of the stages that start now."""
        seeds = []
        while keys := self.scheduler.start(capacity, now_s):
            seeds += [self.plan.nodes[key].labels.seed or 0 for key in keys]
        return seeds

    def end(self, seed: int) -> None:
        key = next(node.key for node in self.plan if node.labels.seed == seed)
        self.scheduler.ended(key)
        self.queue.done(key)


@pytest.mark.parametrize(
    ("stages", "capacity", "started"),
    [
        ([(1, 9), (1, 9), (1, 9)], 2, [1, 2]),
        ([(2, 9), (1, 9)], 2, [1]),
        ([(1, 9), (2, 5), (1, 5)], 2, [1, 3]),  # 3 ends before 1, and 2 needs both devices
        ([(1, 9), (2, 5), (1, 9)], 2, [1, 3]),
        ([(1, 9), (2, 5), (1, 10)], 2, [1]),
        ([(1, 9), (2, 5), (1, 10), (1, 8)], 2, [1, 4]),
        ([(1, 9), (2, 5), (1, None)], 2, [1]),
        ([(1, None), (2, 5), (1, 1)], 2, [1]),  # the start of 2 is unknown
        ([(2, 9), (3, 5), (1, 99), (1, 99)], 4, [1, 3]),  # only one device is left over beside 2
        ([(1, 9), (1, 20), (3, 5), (1, 8), (1, 8)], 4, [1, 2, 4, 5]),
        ([(5, 9), (1, 9)], 4, [2]),  # 1 is wider than the capacity
    ],
)
def test_the_stages_that_start_now(stages: list[tuple[int, float | None]], capacity: int, started: list[int]) -> None:
    assert Line(stages).start(capacity, 100.0) == started


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


def test_no_stage_passes_a_wide_stage_that_is_overdue() -> None:
    line = Line([(1, 9), (2, 5), (1, 1)])
    assert line.start(2, 0.0) == [1, 3]
    line = Line([(1, 9), (2, 5), (1, 1), (1, 1)])
    line.start(1, 0.0)
    assert line.start(2, 9.5) == []  # 1 takes longer than estimated


def test_lost_devices_are_not_used() -> None:
    line = Line([(1, 9), (1, 9), (1, 9)])
    assert line.start(2, 0.0) == [1, 2]
    line.end(1)
    assert line.start(1, 1.0) == []
    line.end(2)
    assert line.start(1, 2.0) == [3]


@MANY
@given(recipes(), st.data())
def test_devices_are_never_oversubscribed_and_every_stage_runs(recipe_: Recipe, data: st.DataObject) -> None:
    """For any widths, and estimates however wrong."""
    plan = plan_of(recipe_)
    random = data.draw(st.randoms(use_true_random=False))
    capacity = data.draw(st.integers(1, 6))
    width = {key: random.choice([1, 1, 1, random.randint(1, capacity)]) for key in plan.nodes}
    estimate = {key: random.choice([None, 1.0, random.uniform(0.1, 9)]) for key in plan.nodes}
    queue = ReadyQueue(plan, upward_rank(plan), [])
    scheduler = Scheduler(plan, queue, lambda node: width[node.key], lambda node: estimate[node.key])
    running: list[tuple[float, list[str]]] = []
    now_s, ran = 0.0, []
    while queue.active:
        while keys := scheduler.start(capacity, now_s):
            heapq.heappush(running, (now_s + random.uniform(0.1, 20), keys))
            assert sum(width[group[0]] for _, group in running) <= capacity
        assert running, "active, but no stage started"
        now_s, keys = heapq.heappop(running)
        scheduler.ended(keys[0])
        for key in keys:
            queue.done(key)
            ran.append(key)
    assert sorted(ran) == sorted(plan.nodes)


@MANY
@given(st.data())
def test_a_wide_stage_is_never_starved(data: st.DataObject) -> None:
    """Among endless narrow work, no stage starts after the wide stage's first expected start."""
    capacity = data.draw(st.integers(2, 6))
    right = data.draw(st.booleans())
    random = data.draw(st.randoms(use_true_random=False))
    before = [(1, random.uniform(1, 9)) for _ in range(random.randint(1, capacity))]
    wide = len(before) + 1
    needed = random.randint(capacity - len(before) + 1, capacity)
    line = Line([*before, (needed, 5.0), *((1, random.choice([0.5, random.uniform(0.1, 20)])) for _ in range(60))])

    def takes(seed: int) -> float:
        estimate = line.stages[seed - 1][1] or 0.0
        return estimate if right else estimate * random.uniform(0.2, 9)

    ends = sorted(seconds or 0.0 for _, seconds in before)
    moment = ends[needed - (capacity - len(before)) - 1]
    running: list[tuple[float, int]] = []
    now_s = 0.0
    while True:
        started = line.start(capacity, now_s)
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
def test_narrow_work_never_waits_while_a_device_is_free(recipe_: Recipe, capacity: int) -> None:
    plan = plan_of(recipe_)
    queue = ReadyQueue(plan, upward_rank(plan), [])
    scheduler = Scheduler(plan, queue)
    running: list[list[str]] = []
    while queue.active:
        while keys := scheduler.start(capacity, math.nan):
            running.append(keys)
        assert len(running) == capacity or next(queue.ready(), None) is None
        keys = running.pop(0)
        scheduler.ended(keys[0])
        for key in keys:
            queue.done(key)


def test_the_stage_with_the_highest_rank_starts_first() -> None:
    plan = plan_of(recipe(rounds=3, transfer_rounds=(1, 2, 3), probe_rounds=(3,)))
    rank = upward_rank(plan)
    scheduler = Scheduler(plan, ReadyQueue(plan, rank, []))
    (first,) = scheduler.start(1, 0.0)
    assert rank[first] == max(rank.values())
    assert rank[first] > cost_epochs(plan.nodes[first].stage)


def test_a_group_of_probes_is_half_an_equal_share_for_every_device() -> None:
    plan = plan_of(recipe(rounds=3, seeds=3, transfer_rounds=(1, 2, 3), probe_rounds=(1, 2, 3)))
    probes = [node.key for node in plan if node.stage.kind == "probe"]
    queue = ReadyQueue(plan, dict.fromkeys(plan.nodes, 0.0), plan.nodes.keys() - set(probes))
    groups = []
    scheduler = Scheduler(plan, queue)
    capacity = 8
    while keys := scheduler.start(capacity, math.nan):
        groups.append(len(keys))
        capacity += 1 if scheduler.busy == capacity else 0  # from now on one device at a time is free
    assert groups[0] == -(-len(probes) // (2 * 8))
    assert sum(groups) == len(probes)
    # groups shrink with the remaining probes, so that all devices end together
    assert groups == sorted(groups, reverse=True)
    assert groups[-1] == 1
