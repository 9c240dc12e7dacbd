"""What an attempt writes about how far it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import tickets
from tickets.files.writing import replacing
from workers.attempts import attempt
from workers.stages import Setting, Train, Training
from workers.stages.execution import Execution
from workers.stages.job import Job


def test_epochs_of_milliseconds_are_not_each_written_but_the_last_is(
    tmp_path: Path, setting: Setting, training: Training, execution: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    @contextmanager
    def counting(path: Path) -> Iterator[Path]:
        written.append(path)
        with replacing(path) as partial:
            yield partial

    monkeypatch.setattr(attempt, "replacing", counting)
    monkeypatch.setattr(attempt, "PROGRESS_INTERVAL_S", 1e9)
    (tmp_path / "1").mkdir()
    stage = Train(setting, replace(training, epochs=4), tickets.TRANSFERS["dense"], 1, 2)
    job = Job("0" * 32, "tried", stage, {})
    [outcome] = attempt.run_attempts([attempt.Attempt(job, str(tmp_path), "1", (), execution)])
    assert outcome.status == "done", outcome.message
    progress = json.loads((tmp_path / "1" / "progress.json").read_text())
    assert (progress["epoch"], progress["epochs"]) == (4, 4)
    assert len(written) == 3  # at the start, at the second beat, after the last epoch
    assert (tmp_path / "1" / "log.txt").read_text().count("epoch ") == 4
