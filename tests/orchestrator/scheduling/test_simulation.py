"""Simulated sweeps take at least the lower bound, and at most what a greedy order takes."""

from __future__ import annotations

from random import Random
from statistics import mean
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.recipes.recipe import Recipe
from orchestrator.scheduling.queue import ReadyQueue
from orchestrator.scheduling.rank import cost_epochs
from orchestrator.scheduling.simulation import SimulatedCluster
from tests.orchestrator.recipes.small_recipes import plan_of, recipe, recipes

MANY = settings(max_examples=40, deadline=None)


@MANY
@given(recipes(), st.data())
def test_a_makespan_lies_between_the_lower_bound_and_a_greedy_order(recipe_: Recipe, data: st.DataObject) -> None:
    plan = plan_of(recipe_)
    random = data.draw(st.randoms(use_true_random=False))
    seconds = {node.key: random.uniform(0.5, 2) * cost_epochs(node.stage) for node in plan}
    cached = set(data.draw(st.lists(st.sampled_from(list(plan.nodes)), unique=True, max_size=8)))
    devices = data.draw(st.integers(1, 9))
    simulation = SimulatedCluster(plan, cached, seconds, devices).run()
    assert simulation.work_s == pytest.approx(sum(seconds[key] for key in plan.nodes if key not in cached))
    assert simulation.lower_bound_s == max(simulation.critical_path_s, simulation.work_s / devices)
    assert simulation.makespan_s >= simulation.lower_bound_s * (1 - 1e-9)
    groups = 8 * max(seconds[node.key] for node in plan)  # a group's probes run one after another
    assert simulation.makespan_s <= simulation.critical_path_s + simulation.work_s / devices + groups
    assert simulation.busy_fraction * devices * simulation.makespan_s == pytest.approx(simulation.work_s)


@MANY
@given(recipes(), st.integers(1, 9), st.randoms(use_true_random=False))
def test_barriers_come_early_and_the_end_not_later(recipe_: Recipe, devices: int, random: Random) -> None:
    """Against the order by urgency alone; no order is best for every plan, so half of a stage may be lost."""
    plan = plan_of(recipe_)
    seconds = {node.key: random.uniform(0.5, 2) * cost_epochs(node.stage) for node in plan}
    early = SimulatedCluster(plan, (), seconds, devices).run()
    with patch.object(ReadyQueue, "towards_a_probe", return_value=None):
        urgent = SimulatedCluster(plan, (), seconds, devices).run()
    assert early.makespan_s <= urgent.makespan_s + max(seconds.values()) / 2
    if probes := [node.key for node in plan if node.stage.kind == "probe"]:
        assert mean(early.ended_s[key] for key in probes) <= 1.02 * mean(urgent.ended_s[key] for key in probes)


def test_the_first_barrier_comes_in_the_first_tenth_of_a_long_sweep() -> None:
    """By urgency alone all barriers come in the last tenth."""
    plan = plan_of(recipe(chains=5, rounds=5, seeds=2, transfer_rounds=(1, 3, 5), probe_rounds=(1, 3, 5)))
    seconds = {node.key: cost_epochs(node.stage) for node in plan}
    simulation = SimulatedCluster(plan, (), seconds, 2).run()
    ends_s = sorted(simulation.ended_s[node.key] for node in plan if node.stage.kind == "probe")
    assert ends_s[0] < simulation.makespan_s / 10
    assert ends_s[len(ends_s) // 2] < simulation.makespan_s * 0.6
    assert simulation.makespan_s < 1.01 * simulation.lower_bound_s


def test_one_device_takes_all_the_work() -> None:
    plan = plan_of(recipe())
    simulation = SimulatedCluster(plan, (), {node.key: cost_epochs(node.stage) for node in plan}, 1).run()
    assert simulation.makespan_s == pytest.approx(simulation.work_s)
    assert simulation.busy_fraction == pytest.approx(1)


def test_unlimited_devices_take_the_critical_path() -> None:
    plan = plan_of(recipe())
    simulation = SimulatedCluster(plan, (), {node.key: cost_epochs(node.stage) for node in plan}, 1000).run()
    assert simulation.makespan_s == pytest.approx(simulation.critical_path_s) == pytest.approx(2 + 1 + 1 + 3 + 1.1)


def test_a_cached_plan_takes_no_time() -> None:
    plan = plan_of(recipe())
    simulation = SimulatedCluster(plan, plan.nodes.keys(), {}, 4).run()
    assert (simulation.makespan_s, simulation.work_s, simulation.busy_fraction) == (0.0, 0.0, 0.0)


def test_wide_stages_wait_for_all_their_devices() -> None:
    plan = plan_of(recipe(seeds=3))
    seconds = {node.key: cost_epochs(node.stage) for node in plan}

    def width(label: str) -> int:
        return 4 if label == "round" else 1

    simulation = SimulatedCluster(plan, (), seconds, 5, lambda node: width(node.stage.kind)).run()
    assert simulation.work_s == pytest.approx(sum(seconds[node.key] * width(node.stage.kind) for node in plan))
    assert simulation.makespan_s >= simulation.lower_bound_s
    with pytest.raises(ValueError, match="3 devices are fewer than the 4 that a stage needs"):
        SimulatedCluster(plan, (), seconds, 3, lambda node: width(node.stage.kind)).run()
