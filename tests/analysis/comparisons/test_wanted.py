import pytest

from orchestrator.store.plans import PlannedStage, StoredPlan, wanted
from orchestrator.store.record import Labels


def plan(started: float, on_request: bool = False, reads: str = "", **stages: str) -> StoredPlan:
    """A plan of stages by key, each with its data set and what it reads."""
    return StoredPlan(
        argv=[],
        started_unix_s=started,
        on_request=on_request,
        stages=[
            PlannedStage(
                key=key * 32,
                kind="train",
                name=key,
                labels=Labels(dataset=data, architecture="net", preset="sound"),
                inputs={slot: slot * 32 for slot in reads},
            )
            for key, data in stages.items()
        ],
    )


def test_the_last_sweep_over_a_setting_says_what_is_wanted() -> None:
    plans = [plan(1, a="cifar10", b="mnist1d"), plan(2, c="cifar10")]
    assert set(wanted(plans)) == {"c" * 32, "b" * 32}


def test_nothing_planned_is_nothing_wanted() -> None:
    assert wanted([]) == {}


@pytest.mark.parametrize("on_request", [False, True], ids=["", "written by an older version"])
def test_a_plan_that_reads_another_plans_stages_replaces_no_sweep_and_is_wanted_with_its_inputs(
    on_request: bool,
) -> None:
    sweep = plan(1, a="mnist1d", b="mnist1d")
    request = plan(2, on_request=on_request, reads="ab", f="mnist1d")
    assert set(wanted([sweep, request])) == {"a" * 32, "b" * 32, "f" * 32}
    extended = plan(3, a="mnist1d", b="mnist1d", c="mnist1d")
    assert set(wanted([sweep, request, extended])) == {"a" * 32, "b" * 32, "c" * 32, "f" * 32}
    other = plan(3, a="mnist1d", c="mnist1d")
    assert set(wanted([sweep, request, other])) == {"a" * 32, "c" * 32}
