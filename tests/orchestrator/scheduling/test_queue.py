"""The ready queue under every order of successes, failures and repeats."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.planning.plan import Plan
from orchestrator.recipes.recipe import Recipe
from orchestrator.scheduling.queue import FINISHED, ReadyQueue, State
from orchestrator.scheduling.rank import cost_epochs, upward_rank
from tests.orchestrator.recipes.small_recipes import plan_of, recipe, recipes

MANY = settings(max_examples=60, deadline=None)
ENDED = (*FINISHED, State.FAILED, State.BLOCKED)


def queue_of(plan: Plan, *cached: str) -> ReadyQueue:
    return ReadyQueue(plan, upward_rank(plan), cached)


def start_next(queue: ReadyQueue) -> str | None:
    key = next(queue.ready(), None)
    if key is not None:
        queue.start(key)
    return key


def behind(plan: Plan, key: str, cached: set[str]) -> set[str]:
    """Descendants of a stage, without cached ones: these need no input."""
    lacking = {key}
    for node in plan:
        if node.key not in cached and lacking & set(node.inputs.values()):
            lacking.add(node.key)
    return lacking - {key}


@MANY
@given(recipes(), st.data())
def test_every_order_of_events_ends_and_blocks_exactly_the_descendants_of_failures(
    recipe_: Recipe, data: st.DataObject
) -> None:
    plan = plan_of(recipe_)
    cached = set(data.draw(st.lists(st.sampled_from(list(plan.nodes)), unique=True, max_size=8)))
    slots = data.draw(st.integers(1, 4))
    random = data.draw(st.randoms(use_true_random=False))
    queue = queue_of(plan, *cached)
    running: list[str] = []
    finished, failed, repeats = set(cached), set(), 0
    while queue.active:
        while len(running) < slots and (key := start_next(queue)) is not None:
            assert set(plan.nodes[key].inputs.values()) <= finished
            assert key not in finished | failed
            assert key not in running
            running.append(key)
        assert running, "active, but no stage can start"
        key = running.pop(random.randrange(len(running)))
        event = random.choices(["done", "failed", "requeue"], [8, 1, 2 if repeats < 20 else 0])[0]
        if event == "done":
            queue.done(key)
            finished.add(key)
        elif event == "failed":
            before = {k for k, state in queue.state.items() if state is State.BLOCKED}
            blocked = queue.failed(key)
            failed.add(key)
            assert len(set(blocked)) == len(blocked)
            assert set(blocked) == behind(plan, key, cached) - before
        else:
            queue.requeue(key)
            repeats += 1
        unstarted = [k for k, state in queue.state.items() if state in (State.WAITING, State.READY)]
        assert abs(queue.unstarted - sum(queue.cost[k] for k in unstarted)) < 1e-9
        early = queue.towards_a_probe()
        assert early is None or queue.state[early] is State.READY
    assert not running
    assert all(state in ENDED for state in queue.state.values())
    lacking = failed.union(*(behind(plan, key, cached) for key in failed)) if failed else set()
    assert {key for key, state in queue.state.items() if state in FINISHED} == plan.nodes.keys() - lacking
    assert {key for key, state in queue.state.items() if state is State.BLOCKED} == lacking - failed


def test_a_stage_is_blocked_if_the_repeated_computation_of_its_input_fails() -> None:
    plan = plan_of(recipe(methods=("aws",)))
    key = {node.name.rpartition("/")[2]: node.key for node in plan if "/round0" in node.name}
    queue = queue_of(plan)
    while key["round02"] not in running(queue):
        started = start_next(queue)
        assert started is not None
        if started != key["round02"]:
            queue.done(started)
    queue.reopen(key["round01"])  # round02 reports its damage only later
    assert start_next(queue) == key["round01"]
    assert key["round02"] not in queue.failed(key["round01"])
    assert {key["round02"]} | behind(plan, key["round02"], set()) <= set(queue.requeue(key["round02"]))
    assert queue.state[key["round02"]] is State.BLOCKED


def running(queue: ReadyQueue) -> set[str]:
    return {key for key, state in queue.state.items() if state is State.RUNNING}


@MANY
@given(recipes())
def test_the_stage_with_the_highest_rank_goes_first(recipe_: Recipe) -> None:
    plan = plan_of(recipe_)
    rank, queue, ready = upward_rank(plan), queue_of(plan), {k for k, n in plan.nodes.items() if not n.inputs}
    finished: set[str] = set()
    while (key := start_next(queue)) is not None:
        assert rank[key] == max(rank[other] for other in ready)
        finished.add(key)
        queue.done(key)
        ready = {k for k, n in plan.nodes.items() if k not in finished and set(n.inputs.values()) <= finished}
    assert finished == plan.nodes.keys()


@MANY
@given(recipes())
def test_rank_is_the_cost_of_the_most_expensive_path_to_the_end(recipe_: Recipe) -> None:
    plan = plan_of(recipe_)

    def longest(key: str) -> float:
        later = [node.key for node in plan if key in node.inputs.values()]
        return cost_epochs(plan.nodes[key].stage) + max((longest(other) for other in later), default=0.0)

    rank = upward_rank(plan)
    assert all(abs(rank[key] - longest(key)) < 1e-9 for key in plan.nodes)


def test_serial_rounds_go_before_leaves() -> None:
    plan = plan_of(recipe(rounds=3, transfer_rounds=(1, 2, 3), probe_rounds=(3,)))
    queue, kinds = queue_of(plan), []
    while (key := start_next(queue)) is not None:
        kinds.append(plan.nodes[key].stage.kind)
        queue.done(key)
    assert kinds[:8] == ["pretrain", "pretrain"] + ["round"] * 6
    assert kinds[-1] == "probe"


def test_equally_urgent_stages_go_in_plan_order() -> None:
    plan = plan_of(recipe(methods=("aws",), seeds=3))
    rank = dict.fromkeys(plan.nodes, 1.0)
    queue = ReadyQueue(plan, rank, [])
    first = [start_next(queue) for _ in range(4)]
    assert first == [key for key, node in plan.nodes.items() if not node.inputs]


def test_a_cached_plan_has_no_ready_stage() -> None:
    plan = plan_of(recipe())
    queue = queue_of(plan, *plan.nodes)
    assert not queue.active
    assert start_next(queue) is None


def test_a_cached_stage_is_finished_even_without_its_inputs() -> None:
    plan = plan_of(recipe(methods=("aws",)))
    last = next(node for node in plan if node.name.endswith("round02"))
    queue = queue_of(plan, last.key)  # its inputs are not cached, but round 1's transfers need them
    started = []
    while (key := start_next(queue)) is not None:
        started.append(key)
        queue.done(key)
    assert set(started) == plan.nodes.keys() - {last.key}
    assert queue.state[last.key] is State.CACHED


def test_cached_keys_of_other_plans_are_ignored() -> None:
    plan = plan_of(recipe())
    assert queue_of(plan, "f" * 32).state.keys() == plan.nodes.keys()
