from analysis.recipes import wanted
from orchestrator.record import Labels, PlannedStage, StoredPlan


def plan(started: float, **stages: str) -> StoredPlan:
    """A plan of stages by key, each with its data set."""
    return StoredPlan(
        argv=[],
        started_unix_s=started,
        stages=[
            PlannedStage(
                key=key * 32, kind="train", name=key, labels=Labels(dataset=data, architecture="net", preset="sound")
            )
            for key, data in stages.items()
        ],
    )


def test_the_last_sweep_over_a_setting_says_what_is_wanted() -> None:
    plans = [plan(1, a="cifar10", b="mnist1d"), plan(2, c="cifar10")]
    assert set(wanted(plans)) == {"c" * 32, "b" * 32}


def test_nothing_planned_is_nothing_wanted() -> None:
    assert wanted([]) == {}
