"""One trial without Ray: rungs, resuming, a diverging training, a failing stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.recipes.experiments import Experiment
from orchestrator.store import Store
from orchestrator.tuning.definition import Definition, define
from orchestrator.tuning.space import FRACTION, RATE
from orchestrator.tuning.trial import TrialError, run_rung, trial_folder
from tests.orchestrator.recipes.small_recipes import recipe
from workers.stages.execution import Execution


def definition(fingerprint: str = "tiny-1", **point: Any) -> Definition:
    """Trial 2 changes what is given."""
    base = recipe(model={"width": 4}, pretrain_epochs=1, final_epochs=1)
    search = define(Experiment(base, fingerprint), {}, 2, 2, None, 0)
    return search.model_copy(update={"points": [{}, {name.replace("__", "."): value for name, value in point.items()}]})


def written(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in trial_folder(root, 2).glob("stages/*/*/record.json")}


def test_a_trial_goes_from_rung_to_rung_on_the_same_chain(tmp_path: Path, execution: Execution) -> None:
    search = definition()
    first = run_rung(search, 2, 0, tmp_path, execution)
    assert (first.depth, first.last, first.diverged) == (1, False, False)
    before = written(tmp_path)
    assert len(before) == 3
    second = run_rung(search, 2, 1, tmp_path, execution)
    assert (second.depth, second.last) == (2, True)
    assert before.items() < written(tmp_path).items()
    assert len(written(tmp_path)) == 5  # one more round and its transfer
    assert {record.kind for record in Store(trial_folder(tmp_path, 2)).records().values()} == {
        "pretrain",
        "round",
        "train",
    }


def test_a_finished_rung_is_not_computed_again(tmp_path: Path, execution: Execution) -> None:
    search = definition(**{FRACTION: 0.36})
    result = run_rung(search, 2, 0, tmp_path, execution)
    assert (result.depth, result.last) == (2, True)  # one round of 0.36 is two of 0.2
    before = written(tmp_path)
    assert run_rung(search, 2, 0, tmp_path, execution) == result
    assert written(tmp_path) == before


def test_a_diverging_training_ends_the_trial_at_accuracy_0(tmp_path: Path, execution: Execution) -> None:
    result = run_rung(definition(**{RATE.replace(".", "__"): 1e30}), 2, 0, tmp_path, execution)
    assert (result.accuracy_percent, result.diverged, result.last) == (0.0, True, True)


def test_a_failed_stage_names_its_log(tmp_path: Path, execution: Execution) -> None:
    with pytest.raises(TrialError, match=r"round00: DataError: .*/log.txt\)") as error:
        run_rung(definition("another fingerprint"), 2, 0, tmp_path, execution)
    log = Path(str(error.value).rpartition("(")[2].rstrip(")"))
    assert "DataError" in log.read_text()
