"""When a checkpoint is due."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from workers.stages.execution import Control

INTERVAL_S = 60.0
CLOCK = time.monotonic


@pytest.mark.parametrize(
    ("passed_s", "epoch_ended", "due"),
    [
        (5.0, False, False),
        (5.0, True, False),  # epochs of small networks end many times a second
        (7.0, False, False),
        (7.0, True, True),
        (59.0, False, False),
        (61.0, False, True),
        (61.0, True, True),
    ],
)
def test_at_an_epochs_end_a_checkpoint_is_due_after_a_tenth_of_the_interval(
    passed_s: float, epoch_ended: bool, due: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = Control(tmp_path, checkpoint_interval_s=INTERVAL_S)
    monkeypatch.setattr(time, "monotonic", lambda: CLOCK() + passed_s)
    assert control.checkpoint_due(epoch_ended=epoch_ended) is due


def test_each_checkpoint_restarts_the_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control, due = Control(tmp_path, checkpoint_interval_s=INTERVAL_S), []
    for passed_s in (7.0, 8.0, 12.0, 14.0):
        monkeypatch.setattr(time, "monotonic", lambda passed_s=passed_s: CLOCK() + passed_s)
        due.append(control.checkpoint_due(epoch_ended=True))
    assert due == [True, False, False, True]


def test_without_a_folder_no_checkpoint_is_due() -> None:
    control = Control(None, checkpoint_interval_s=0.0)
    assert not control.checkpoint_due()
    assert not control.checkpoint_due(epoch_ended=True)
