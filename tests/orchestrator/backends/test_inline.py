"""Stages that share a process, in threads as on a GPU, give the same results as one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from orchestrator.backends.inline import InlineBackend
from workers.attempts.attempt import Attempt, Outcome
from workers.models import ARCHITECTURES, architecture
from workers.stages import Model, Pretrain, Setting, Stage, Training
from workers.stages.execution import Execution
from workers.stages.job import Job


@pytest.fixture
def dropout_setting(setting: Setting) -> Iterator[Setting]:
    @architecture("with_dropout")
    def with_dropout(in_channels: int, num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Dropout(0.5), nn.Linear(16, num_classes))

    yield Setting("sound", setting.data, Model("with_dropout"))
    del ARCHITECTURES["with_dropout"]


def run(root: Path, stages: dict[str, Stage], execution: Execution, at_once: int) -> dict[str, Outcome]:
    backend, ended = InlineBackend(torch.device("cpu")), dict[str, Outcome]()
    left = list(stages.items())
    running = 0
    while left or running:
        while left and running < at_once:
            name, stage = left.pop(0)
            folder = f"{name}/attempts/1"  # not beside other stages: an attempt resumes its neighbours' checkpoints
            (root / folder).mkdir(parents=True)
            job = Job(name, name, stage, {})
            backend.submit([Attempt(job, str(root), folder, ("stop",), execution)])
            running += 1
        for (attempt,), (outcome,) in backend.wait(60):
            running -= 1
            assert isinstance(outcome, Outcome)
            assert outcome.status == "done", outcome.message
            ended[attempt.job.name] = outcome
    backend.close()
    return ended


def digests(root: Path) -> dict[str, str]:
    files = [path for path in sorted(root.rglob("out/*")) if path.stem != "timing"]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_packed_stages_give_the_bits_that_each_gives_alone(
    tmp_path: Path, setting: Setting, dropout_setting: Setting, training: Training, execution: Execution
) -> None:
    stages: dict[str, Stage] = {
        # dropout draws from torch's global generators, which the whole process has in common
        f"{name}-{seed}": Pretrain(which, training, "interpolated", seed, seed)
        for seed in (1, 2, 3)
        for name, which in (("plain", setting), ("dropout", dropout_setting))
    }
    alone = run(tmp_path / "alone", stages, execution, 1)
    packed = run(tmp_path / "packed", stages, execution, len(stages))
    assert digests(tmp_path / "packed") == digests(tmp_path / "alone") != {}
    assert {outcome.machine["stages_beside"] for outcome in alone.values()} == {0}
    assert max(outcome.machine["stages_beside"] for outcome in packed.values()) == len(stages) - 1
    for name, outcome in packed.items():
        # of a stage with company nobody can say how much of the memory was its own
        assert (outcome.machine["peak_memory_bytes"] is None) == (outcome.machine["stages_beside"] > 0)
        log = (tmp_path / "packed" / name / "attempts/1/log.txt").read_text()
        assert [other for other in stages if f"({other})" in log] == [name]
