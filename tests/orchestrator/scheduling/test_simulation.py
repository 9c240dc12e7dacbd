"""Simulated sweeps: what is run takes at least the lower bound, and nothing is lost but time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.recipes import Recipe
from orchestrator.scheduling.rank import cost_epochs
from orchestrator.scheduling.simulation import Preemptions, simulate
from tests.orchestrator.recipes.small_recipes import plan_of, recipe, recipes

MANY = settings(max_examples=40, deadline=None)


@MANY
@given(recipes(), st.data())
def test_a_makespan_lies_between_the_lower_bound_and_what_any_greedy_order_takes(
    recipe_: Recipe, data: st.DataObject
) -> None:
    plan = plan_of(recipe_)
    random = data.draw(st.randoms(use_true_random=False))
    seconds = {node.key: random.uniform(0.5, 2) * cost_epochs(node.stage) for node in plan}
    cached = set(data.draw(st.lists(st.sampled_from(list(plan.nodes)), unique=True, max_size=8)))
    devices = data.draw(st.integers(1, 9))
    found = simulate(plan, cached, seconds, devices)
    assert found.work_s == pytest.approx(sum(seconds[key] for key in plan.nodes if key not in cached))
    assert found.lower_bound_s == max(found.critical_path_s, found.work_s / devices)
    assert found.makespan_s >= found.lower_bound_s * (1 - 1e-9)
    groups = 8 * max(seconds[node.key] for node in plan)  # of probes, which run one after the other
    assert found.makespan_s <= found.critical_path_s + found.work_s / devices + groups
    assert found.busy_fraction * devices * found.makespan_s == pytest.approx(found.work_s)


def test_one_device_takes_all_the_work() -> None:
    plan = plan_of(recipe())
    found = simulate(plan, (), {node.key: cost_epochs(node.stage) for node in plan}, 1)
    assert found.makespan_s == pytest.approx(found.work_s)
    assert found.busy_fraction == pytest.approx(1)


def test_with_devices_without_end_it_is_the_critical_path() -> None:
    plan = plan_of(recipe())
    found = simulate(plan, (), {node.key: cost_epochs(node.stage) for node in plan}, 1000)
    assert found.makespan_s == pytest.approx(found.critical_path_s) == pytest.approx(2 + 1 + 1 + 3 + 1.1)


def test_a_plan_that_is_cached_takes_no_time() -> None:
    plan = plan_of(recipe())
    found = simulate(plan, plan.nodes.keys(), {}, 4)
    assert (found.makespan_s, found.work_s, found.busy_fraction) == (0.0, 0.0, 0.0)


@MANY
@given(recipes(), st.integers(1, 6), st.integers(0, 9))
def test_preemptions_cost_time_and_lose_no_stage(recipe_: Recipe, devices: int, seed: int) -> None:
    plan = plan_of(recipe_)
    seconds = {node.key: 100 * cost_epochs(node.stage) for node in plan}
    calm = simulate(plan, (), seconds, devices)
    rough = simulate(plan, (), seconds, devices, Preemptions(2000, 60, 30, seed))
    assert rough.makespan_s >= calm.lower_bound_s
    assert simulate(plan, (), seconds, devices, Preemptions(2000, 60, 30, seed)) == rough
    assert simulate(plan, (), seconds, devices, Preemptions(1e12, 60, 30, seed)) == calm


def test_what_was_checkpointed_is_not_done_again() -> None:
    plan = plan_of(recipe(methods=("aws",)))
    seconds = {node.key: 1000 * cost_epochs(node.stage) for node in plan}
    often, seldom = (simulate(plan, (), seconds, 1, Preemptions(4000, 0, every, 1)) for every in (1, 1e9))
    lost_s = often.makespan_s * often.busy_fraction - often.work_s
    probes_s = sum(seconds[node.key] for node in plan if node.stage.kind == "probe")
    assert 0 <= lost_s <= often.preempted * max(1, probes_s)
    assert seldom.makespan_s > often.makespan_s


def test_wide_stages_run_as_well() -> None:
    plan = plan_of(recipe(seeds=3))
    seconds = {node.key: cost_epochs(node.stage) for node in plan}

    def width(label: str) -> int:
        return 4 if label == "round" else 1

    found = simulate(plan, (), seconds, 5, None, lambda node: width(node.stage.kind))
    assert found.work_s == pytest.approx(sum(seconds[node.key] * width(node.stage.kind) for node in plan))
    assert found.makespan_s >= found.lower_bound_s
    with pytest.raises(ValueError, match="3 devices are fewer than the 4 that a stage needs"):
        simulate(plan, (), seconds, 3, None, lambda node: width(node.stage.kind))
