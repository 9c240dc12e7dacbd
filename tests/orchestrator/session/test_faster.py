"""The line about ``--fast``, and the compiler that its stages need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.base import BackendError
from orchestrator.planning.algorithm import expand
from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.layers import read_fast
from orchestrator.recipes.recipe import Recipe
from orchestrator.scheduling.rank import cost_epochs
from orchestrator.session import faster
from orchestrator.session.faster import check_compiled, fast_line
from orchestrator.store.record import Record
from tests.orchestrator.recipes.small_recipes import plan_of, recipe
from tests.orchestrator.scheduling.test_estimate import first, record
from workers.attempts.provenance import machine
from workers.stages.execution import Execution

EXECUTION = Execution("cpu", None, "cache")
DEVICE = machine(EXECUTION)["device"]


@pytest.fixture(autouse=True)
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faster, "native_bfloat16", lambda device: True)


def line(of: Recipe, records: dict[str, Record] | None = None, done: Any = ()) -> str | None:
    experiment = Experiment(of, "fingerprint-1")
    return fast_line([experiment], expand([experiment]), done, records or {}, EXECUTION)


def measured(*recipes: tuple[Recipe, float]) -> dict[str, Record]:
    trains = [(first(plan_of(of), "train"), seconds) for of, seconds in recipes]
    return {node.key: record(node, seconds, device=DEVICE) for node, seconds in trains}


def test_the_gain_is_computed_from_measured_durations() -> None:
    durations = measured((recipe(), 3 * 3600.0), (recipe(precision="bfloat16"), 3 * 1800.0))
    total = sum(cost_epochs(node.stage) for node in plan_of(recipe()))
    left = (total - 3) / 2  # a final training of three epochs is done in bfloat16
    sentence = f"native bfloat16. With --fast {left:,.2f} core-hours would be left instead of {total:,.2f}, by measured"
    assert sentence in (line(recipe(), durations) or "")
    elsewhere = {key: each.model_copy(update={"provenance": {"device": "a GPU"}}) for key, each in durations.items()}
    assert "is not measured in this store yet" in (line(recipe(), elsewhere) or "")


@pytest.mark.parametrize("durations", [{}, measured((recipe(), 9.0)), measured((recipe(precision="bfloat16"), 9.0))])
def test_what_was_not_measured_is_said(durations: dict[str, Record]) -> None:
    assert "its gain is not measured in this store yet" in (line(recipe(), durations) or "")


def test_there_is_no_line_where_nothing_is_gained(monkeypatch: pytest.MonkeyPatch) -> None:
    assert line(recipe(precision="bfloat16")) is None
    assert line(recipe(), done=plan_of(recipe()).nodes) is None
    assert line(recipe()) is not None
    monkeypatch.setattr(faster, "native_bfloat16", lambda device: False)
    assert line(recipe()) is None


def test_a_gang_is_offered_bfloat16_alone() -> None:
    gang: dict[str, Any] = {"gpus_per_stage": 2, "probe_rounds": ()}  # probes are no gang's
    durations = measured((recipe(**gang), 9.0), (recipe(precision="bfloat16", **gang), 3.0))
    assert "would be left instead of" in (line(recipe(**gang, final_epochs=99), durations) or "")


def test_a_compiled_stage_that_is_left_needs_a_compiler_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = plan_of(recipe(**read_fast() | {"compile_from_epochs": 3}))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    check_compiled(plan_of(recipe()), (), EXECUTION.torch_device)
    check_compiled(long, long.nodes, EXECUTION.torch_device)
    with pytest.raises(BackendError, match=r"torch.compile needs the compiler g\+\+, which this machine lacks"):
        check_compiled(long, (), EXECUTION.torch_device)
