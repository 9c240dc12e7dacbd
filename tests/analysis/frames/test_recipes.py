"""What each part was made with: the recipe of its last sweep, and the command that makes it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from analysis import load
from analysis.figures import CATALOGUE
from analysis.frames.recipes import command, commands, recipes
from analysis.frames.sections import sections
from analysis.page.rendering import render
from analysis.page.results import results
from orchestrator.store.plans import PlannedRecipe, PlannedStage, StoredPlan
from orchestrator.store.record import Labels

if TYPE_CHECKING:
    from pathlib import Path

    from tests.analysis.conftest import SyntheticStore

SETTING = {"dataset": "digits", "architecture": "tiny", "preset": "sound"}
OTHER = {**SETTING, "dataset": "letters"}


def plan(second: int, *parts: dict[str, str], inputs: dict[str, str] | None = None, **fields: Any) -> StoredPlan:
    stages = [
        PlannedStage(key=f"{n}" * 32, kind="train", name="n", labels=Labels(**part), inputs=inputs or {})
        for n, part in enumerate(parts)
    ]
    stored = [PlannedRecipe(**part, fields={"rounds": second, **fields}, builtin={"rounds": 15}) for part in parts]
    argv = ["/venv/bin/winning-sign", "sweep", "--rounds", str(second)]
    return StoredPlan(argv=argv, started_unix_s=second, stages=stages, recipes=stored)


def test_the_last_sweep_of_each_part_counts() -> None:
    plans = [plan(1, SETTING, OTHER), plan(2, SETTING)]
    table = recipes(plans)
    assert table[["dataset", "field", "value", "built_in"]].to_numpy().tolist() == [
        ["digits", "rounds", "2", "15"],
        ["letters", "rounds", "1", "15"],
    ]
    assert dict(commands(plans)[["dataset", "command"]].to_numpy()) == {
        "digits": "winning-sign sweep --rounds 2",
        "letters": "winning-sign sweep --rounds 1",
    }


def test_a_landscape_of_other_plans_trainings_made_no_part() -> None:
    plans = [plan(1, SETTING), plan(2, SETTING, inputs={"a": "f" * 32})]
    assert recipes(plans)["value"].tolist() == ["1"]


def test_a_plan_of_an_earlier_version_has_a_command_only() -> None:
    old = plan(1, SETTING).model_copy(update={"recipes": []})
    assert recipes([old]).empty
    assert commands([old])["command"].tolist() == ["winning-sign sweep --rounds 1"]


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["/x/bin/winning-sign", "sweep", "--set", "twins=[mask]"], "winning-sign sweep --set 'twins=[mask]'"),
        (["/x/bin/winning-sign-sweep", "figure2"], "winning-sign sweep figure2"),
        (["/x/orchestrator/sweep.py", "figure2"], "winning-sign sweep figure2"),
        (["/x/orchestrator/__main__.py", "sweep", "figure2"], "winning-sign sweep figure2"),
        (["winning-sign", "sweep", "--store", "s3://key:secret@b/x"], "winning-sign sweep --store 's3://…@b/x'"),
        (["winning-sign", "sweep", "--store", "s3://b/x?secret_key=1"], "winning-sign sweep --store 's3://b/x?…'"),
        ([], "winning-sign"),
    ],
)
def test_the_command_is_quoted_and_holds_no_secret(argv: list[str], text: str) -> None:
    assert command(argv) == text


@pytest.fixture
def planned(sweep: SyntheticStore) -> Path:
    """A store whose plan has a recipe."""
    sweep.plan()
    [path] = (sweep.root / "plans").iterdir()
    stored = StoredPlan.model_validate_json(path.read_bytes())
    recipe = PlannedRecipe(**SETTING, fields={"batch_size": 128, "rounds": 10}, builtin={"rounds": 15})
    path.write_text(stored.model_copy(update={"recipes": [recipe]}).model_dump_json())
    return sweep.root


def test_the_report_and_the_results_mark_what_differs(planned: Path) -> None:
    frames = load(planned)
    assert [len(part.frames.recipes) for part in sections(frames)] == [2]
    page = render(frames, "runs", str, catalogue=CATALOGUE[:1])
    assert "<b>rounds</b></td><td><code>10</code></td><td><code>15</code></td>" in page
    assert "<td>batch_size</td><td><code>128</code></td><td></td>" in page
    assert "<code>winning-sign sweep</code>" in page
    [part] = results(frames).parts
    assert [(each.field, each.value, each.differs, each.built_in) for each in part.recipe] == [
        ("rounds", 10, True, 15),
        ("batch_size", 128, False, None),
    ]
