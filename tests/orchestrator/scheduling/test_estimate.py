"""Durations come only from records, and unmeasured work is reported as unmeasured."""

from __future__ import annotations

import io
from typing import Any

import pytest

from orchestrator.planning.comparison import known_stages
from orchestrator.planning.landscape import plan_landscape
from orchestrator.planning.plan import Node, Plan
from orchestrator.scheduling.estimate import Estimates
from orchestrator.scheduling.forecast import forecast
from orchestrator.scheduling.rank import cost_epochs, upward_rank
from orchestrator.store.record import Record
from orchestrator.terminal.plan_table import print_forecast
from tests.orchestrator.recipes.small_recipes import plan_of, recipe
from workers.stages import to_science
from workers.stages.kinds import width
from workers.terminal.console import Console
from workers.terminal.numbers import duration

PLAN = plan_of(recipe())


def record(node: Node, seconds: float, attempt: int = 1, **provenance: Any) -> Record:
    return Record(
        key=node.key,
        kind=node.stage.kind,
        name=node.name,
        labels=node.labels,
        science=to_science(node.stage),
        inputs=dict(node.inputs),
        attempt=attempt,
        files={},
        results={},
        seconds=seconds,
        finished_unix_s=0.0,
        provenance={"device": "cpu (here)", **provenance},
    )


def first(plan: Plan, kind: str) -> Node:
    return next(node for node in plan if node.stage.kind == kind)


def test_an_estimate_is_the_median_epoch_of_its_kind() -> None:
    trains = [node for node in PLAN if node.stage.kind == "train"]
    measured = [record(node, seconds) for node, seconds in zip(trains, (6.0, 30.0, 9.0), strict=False)]
    estimates = Estimates(measured)
    assert estimates.device == "cpu (here)"
    assert estimates.seconds(trains[-1]) == pytest.approx(9.0)
    assert estimates.seconds(first(PLAN, "round")) == pytest.approx(3.0)  # one epoch of the same work
    assert estimates.seconds(first(PLAN, "probe")) == pytest.approx(3.0 * 1.1)


@pytest.mark.parametrize("changes", [{"image_size": 96}, {"precision": "bfloat16"}, {"compile_from_epochs": 1}])
def test_another_image_size_or_precision_or_compiling_is_other_work(changes: dict[str, object]) -> None:
    other = plan_of(recipe(**changes))
    of_plan = Estimates([record(first(other, "train"), 6.0)]).of(PLAN)
    assert not any(key in of_plan for key in PLAN.nodes if PLAN.nodes[key].stage.kind != "probe")
    assert len(Estimates([record(first(other, "train"), 6.0)]).of(other)) == len(other)


def test_a_measured_probe_estimates_probes_and_no_trainings() -> None:
    measured = [record(first(PLAN, "train"), 6.0), record(first(PLAN, "probe"), 0.5)]
    assert Estimates(measured).seconds(first(PLAN, "probe")) == pytest.approx(0.5)
    assert Estimates(measured[1:]).seconds(first(PLAN, "train")) is None


def test_resumed_stages_other_devices_and_other_work_are_ignored() -> None:
    train = first(PLAN, "train")
    resumed, elsewhere = record(train, 30.0, attempt=2), record(train, 3.0, device="a GPU")
    assert Estimates([record(train, 6.0), resumed]).seconds(train) == pytest.approx(6.0)
    assert Estimates([elsewhere], "cpu (here)").seconds(train) is None
    assert Estimates([elsewhere]).seconds(train) == pytest.approx(3.0)
    other = first(plan_of(recipe(arch="resnet20")), "train")
    assert Estimates([record(train, 3.0)]).seconds(other) is None


def test_the_longest_resumed_stage_is_a_lower_bound_if_nothing_else_was_measured() -> None:
    train, probe = first(PLAN, "train"), first(PLAN, "probe")
    measured = [record(train, seconds, attempt=2) for seconds in (2.0, 5.0, 1.0)]
    estimates = Estimates(measured)
    assert estimates.seconds(train) == pytest.approx(5.0)
    assert estimates.is_least(train)
    assert forecast(PLAN, set(), estimates, 1).at_least == ("tiny/resnet1d",)
    assert "A lower bound: of tiny/resnet1d only resumed stages were measured" in shown(PLAN, set(), measured, 1, None)
    both = Estimates([*measured, record(train, 1.0)])
    assert both.seconds(train) == pytest.approx(1.0)
    assert both.seconds(probe) == pytest.approx(cost_epochs(probe.stage) / 3)  # a third of a training of 3 epochs
    assert not both.is_least(train)
    assert forecast(PLAN, set(), both, 1).at_least == ()


def test_a_stage_that_shared_its_device_counts_by_its_share_if_none_ran_alone() -> None:
    train = first(PLAN, "train")
    shared = record(train, 12.0, stages_beside=3)
    assert Estimates([shared]).seconds(train) == pytest.approx(3.0)
    assert Estimates([shared, record(train, 6.0)]).seconds(train) == pytest.approx(6.0)


def test_the_rank_is_in_seconds_only_if_every_stage_has_an_estimate() -> None:
    two = plan_of(recipe(), recipe(arch="resnet20"))
    measured = [record(first(PLAN, "train"), 6.0)]
    assert Estimates(measured).rank(two) == upward_rank(two)
    assert Estimates(measured).rank(PLAN) == pytest.approx({key: 2 * rank for key, rank in upward_rank(PLAN).items()})


def test_a_measured_slow_network_starts_first() -> None:
    two = plan_of(recipe(), recipe(arch="resnet20"))
    trains = {node.labels.architecture: node for node in two if node.stage.kind == "train"}
    rank = Estimates([record(trains["resnet1d"], 1.0), record(trains["resnet20"], 10.0)]).rank(two)
    assert rank[trains["resnet20"].key] > 5 * rank[trains["resnet1d"].key]


def shown(
    plan: Plan,
    cached: set[str],
    measured: list[Record],
    devices: int,
    price: float | None,
    stated: dict[str, float] | None = None,
) -> str:
    text, estimates = io.StringIO(), Estimates(measured, stated=stated)
    print_forecast(Console(file=text, width=200), forecast(plan, cached, estimates, devices, price))
    return text.getvalue()


def test_a_forecast_has_hours_makespan_and_cost() -> None:
    measured = [record(first(PLAN, "train"), 3 * 3600.0)]  # one hour per epoch
    epochs = sum(cost_epochs(node.stage) for node in PLAN)
    prediction = forecast(PLAN, set(), Estimates(measured), 1, 0.5)
    assert prediction.device_hours == pytest.approx(epochs)
    assert prediction.makespan_s == pytest.approx(3600 * epochs)
    assert prediction.cost_usd == pytest.approx(epochs / 2)
    text = shown(PLAN, set(), measured, 1, 0.5)
    assert f"{epochs:,.2f} core-hours left, {epochs / 2:,.2f} USD" in text
    assert f"About {duration(3600 * epochs)} on 1 of these" in text
    assert "A lower bound" not in text
    assert "GPU-hours" in shown(PLAN, set(), [record(first(PLAN, "train"), 9.0, device="a GPU")], 1, None)


def test_a_forecast_of_several_studies_has_the_price_of_each() -> None:
    two = plan_of(recipe(), recipe(arch="resnet20"))
    trains = {node.labels.architecture: node for node in two if node.stage.kind == "train"}
    measured = [record(trains["resnet1d"], 3 * 3600.0), record(trains["resnet20"], 30 * 3600.0)]
    prediction = forecast(two, set(), Estimates(measured), 1, 0.5)
    small, large = prediction.studies
    assert (small.name, large.name) == ("tiny/resnet1d", "tiny/resnet20")
    assert small.stages + large.stages == prediction.estimated_stages == len(two)
    assert large.device_hours == pytest.approx(10 * (small.device_hours or 0))
    assert (small.cost_usd or 0) + (large.cost_usd or 0) == pytest.approx(prediction.cost_usd)
    text = shown(two, set(), measured, 1, 0.5)
    assert f"Of these, tiny/resnet1d: {small.device_hours:,.2f} core-hours, {small.cost_usd:,.2f} USD" in text
    assert "Of these" not in shown(PLAN, set(), measured, 1, 0.5)
    of_one = forecast(two, set(), Estimates(measured[:1]), 1).studies
    assert [study.device_hours is None for study in of_one] == [False, True]


def test_the_held_cost_includes_idle_devices() -> None:
    measured = [record(first(PLAN, "train"), 3 * 3600.0)]  # one hour per epoch
    prediction = forecast(PLAN, set(), Estimates(measured), 1000, 0.5)
    assert prediction.makespan_s is not None
    assert prediction.held_cost_usd == pytest.approx(1000 * prediction.makespan_s / 3600 * 0.5)
    assert prediction.cost_usd is not None
    assert prediction.held_cost_usd > 10 * prediction.cost_usd
    assert f"{prediction.held_cost_usd:,.2f} USD if all 1,000 are paid for that long" in shown(
        PLAN, set(), measured, 1000, 0.5
    )
    assert forecast(PLAN, set(), Estimates(measured), 1000).held_cost_usd is None


def test_a_landscape_costs_its_grid_points_and_estimates_no_trainings() -> None:
    keys = [node.key for node in PLAN if node.stage.kind == "train"][:3]
    _, node = plan_landscape(known_stages([PLAN.stored([], 1.0)], {}), set(), keys, 5, 0.25)
    assert cost_epochs(node.stage) == pytest.approx(25 * cost_epochs(first(PLAN, "probe").stage) / 11)
    assert width(node.stage) == 1
    estimates = Estimates([record(node, 7.0)])
    assert estimates.seconds(node) == pytest.approx(7.0)
    assert estimates.seconds(first(PLAN, "train")) is None


def test_a_pair_probe_estimates_its_own_kind_and_no_trainings() -> None:
    plan = plan_of(recipe(probes=("disagreement",)))
    node = first(plan, "pair_probe")
    assert width(node.stage) == 1
    estimates = Estimates([record(node, 7.0)])
    assert estimates.seconds(node) == pytest.approx(7.0)
    assert estimates.seconds(first(plan, "train")) is None


def test_unmeasured_work_has_no_forecast() -> None:
    two = plan_of(recipe(), recipe(arch="resnet20"))
    prediction = forecast(two, set(), Estimates([]), 4, 2.0)
    assert (prediction.device_hours, prediction.makespan_s, prediction.cost_usd) == (None, None, None)
    assert prediction.unmeasured == ("tiny/resnet1d", "tiny/resnet20")
    text = shown(two, set(), [], 4, 2.0)
    assert "Not measured yet: tiny/resnet1d, tiny/resnet20" in text
    assert "Start the sweep, then ask again for hours, makespan and cost" in text
    half = forecast(two, set(), Estimates([record(first(PLAN, "train"), 9.0)]), 4, None)
    assert half.device_hours is not None
    assert (half.estimated_stages, half.makespan_s, half.unmeasured) == (len(PLAN), None, ("tiny/resnet20",))


def test_a_stated_duration_counts_where_nothing_was_measured() -> None:
    two, stated = plan_of(recipe(), recipe(arch="resnet20")), {"tiny/resnet1d": 7200.0, "tiny/resnet20": 3600.0}
    measured = [record(first(PLAN, "train"), 3 * 3600.0)]  # one hour per epoch of resnet1d
    epochs = sum(cost_epochs(node.stage) for node in two)
    prediction = forecast(two, set(), Estimates(measured, stated=stated), 1, 0.5)
    assert prediction.device_hours == pytest.approx(epochs)
    assert (prediction.stated, prediction.unmeasured) == (("tiny/resnet20",), ())
    text = shown(two, set(), measured, 1, 0.5, stated)
    assert f"{epochs:,.2f} device-hours left" in text
    assert "from durations measured on cpu (here) and stated for tiny/resnet20." in text
    both = forecast(two, set(), Estimates([], "cpu (here)", stated), 1)
    assert both.measured_on is None
    assert both.device_hours == pytest.approx(sum(cost_epochs(node.stage) for node in PLAN) + epochs)
    assert both.stated == ("tiny/resnet1d", "tiny/resnet20")
    assert "from durations stated for tiny/resnet1d, tiny/resnet20." in shown(two, set(), [], 1, None, stated)
    assert forecast(two, set(), Estimates([], stated={"tiny/resnet20": 1.0}), 1).unmeasured == ("tiny/resnet1d",)


def test_a_finished_plan_prints_no_forecast() -> None:
    assert shown(PLAN, set(PLAN.nodes), [], 1, 2.0) == ""


def test_a_gang_has_its_own_estimates_and_counts_all_its_devices() -> None:
    plan = plan_of(recipe(gpus_per_stage=2))
    train, probe = first(plan, "train"), first(plan, "probe")
    assert Estimates([record(first(PLAN, "train"), 6.0)]).seconds(train) is None
    prediction = forecast(plan, {node.key for node in plan} - {train.key}, Estimates([record(train, 3600.0)]), 2)
    assert (prediction.device_hours, prediction.makespan_s) == (pytest.approx(2), pytest.approx(3600))
    assert forecast(plan, set(), Estimates([record(train, 3600.0), record(probe, 9.0)]), 1).makespan_s is None
