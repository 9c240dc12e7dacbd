"""Preemptions cost time and lose no stage."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.preemptions import PreemptedCluster, Preemptions
from orchestrator.recipes.recipe import Recipe
from orchestrator.scheduling.rank import cost_epochs
from orchestrator.scheduling.simulation import SimulatedCluster
from tests.orchestrator.recipes.small_recipes import plan_of, recipe, recipes


@settings(max_examples=40, deadline=None)
@given(recipes(), st.integers(1, 6), st.integers(0, 9))
def test_preemptions_cost_time_and_lose_no_stage(recipe_: Recipe, devices: int, seed: int) -> None:
    plan = plan_of(recipe_)
    seconds = {node.key: 100 * cost_epochs(node.stage) for node in plan}
    calm = SimulatedCluster(plan, (), seconds, devices).run()
    rough = PreemptedCluster(plan, seconds, devices, Preemptions(2000, 60, 30, seed)).run()
    assert rough.makespan_s >= calm.lower_bound_s
    assert PreemptedCluster(plan, seconds, devices, Preemptions(2000, 60, 30, seed)).run() == rough
    assert PreemptedCluster(plan, seconds, devices, Preemptions(1e12, 60, 30, seed)).run() == calm


def test_checkpointed_work_is_not_repeated() -> None:
    plan = plan_of(recipe(methods=("aws",)))
    seconds = {node.key: 1000 * cost_epochs(node.stage) for node in plan}
    clusters = [PreemptedCluster(plan, seconds, 1, Preemptions(4000, 0, interval_s, 1)) for interval_s in (1, 1e9)]
    often, seldom = (cluster.run() for cluster in clusters)
    lost_s = often.makespan_s * often.busy_fraction - often.work_s
    probes_s = sum(seconds[node.key] for node in plan if node.stage.kind == "probe")
    assert 0 <= lost_s <= clusters[0].preempted * max(1, probes_s)
    assert seldom.makespan_s > often.makespan_s
