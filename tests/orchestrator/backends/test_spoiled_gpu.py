"""A GPU's process in which a capture failed takes no further stage; Ray and its actors are simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.backends.ray import backend as module
from orchestrator.backends.ray import gpus
from orchestrator.backends.ray.backend import RayBackend
from workers.attempts.attempt import Attempt, Outcome
from workers.stages import Data, Model, Optimizer, Pretrain, Setting, Training
from workers.stages.execution import Execution
from workers.stages.job import Job

DONE, SPOILED = Outcome("done", 1.0), Outcome("done", 1.0, spoiled=True)


@dataclass(eq=False)
class Ref:
    """A call that an actor has taken; ``value`` once it has returned."""

    value: Any = None


@dataclass(eq=False)
class Actor:
    """A process that has a GPU, and the stages that it was given."""

    refs: dict[str, Ref] = field(default_factory=dict)

    @property
    def run(self) -> SimpleNamespace:
        return SimpleNamespace(remote=self._take)

    @property
    def memory_bytes(self) -> SimpleNamespace:
        return SimpleNamespace(remote=lambda: Ref(80 * 2**30))

    def _take(self, attempts: Sequence[Attempt]) -> Ref:
        return self.refs.setdefault(attempts[0].job.name, Ref())


class Processes:
    """The processes of a machine with one GPU, in the order of their start."""

    def __init__(self) -> None:
        self.actors: list[Actor] = []
        self.ended: list[Actor] = []

    def start(self) -> gpus.Gpu:
        self.actors.append(Actor())
        return gpus.Gpu(self.actors[-1], None, node="machine")

    def stages(self) -> list[list[str]]:
        """The stages that each was given."""
        return [list(actor.refs) for actor in self.actors]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    processes = Processes()
    cluster = SimpleNamespace(count=lambda: (4, 1), draining_nodes=set)
    ray = SimpleNamespace(
        get=lambda ref, timeout=None: ref.value,
        wait=lambda refs, num_returns, timeout: ([ref for ref in refs if ref.value], []),
        kill=processes.ended.append,
        get_runtime_context=lambda: SimpleNamespace(gcs_address=""),
    )
    for name, stand_in in {"ray": ray, "connect": lambda *_: None, "GcsClient": SimpleNamespace}.items():
        monkeypatch.setattr(module, name, stand_in)
    monkeypatch.setattr(module, "ClusterDevices", lambda client: cluster)
    monkeypatch.setattr(gpus, "ray", ray)
    monkeypatch.setattr(gpus.Gpu, "start", processes.start)
    return processes


def attempt(name: str) -> Attempt:
    setting = Setting("sound", Data("patterns", "patterns-1", 0.1), Model("resnet1d"))
    stage = Pretrain(setting, Training(1, 32, Optimizer(0.05)), "interpolated", 1, 1)
    return Attempt(Job(name, name, stage, {}), "", name, (), Execution("cuda", None, ""))


def test_a_process_whose_capture_failed_takes_no_further_stage_and_ends_after_its_last(processes: Processes) -> None:
    backend = RayBackend(None, None, "auto")
    for name in ("first", "second"):
        backend.submit([attempt(name)])
    assert processes.stages() == [["first", "second"]]
    old = processes.actors[0]
    old.refs["first"].value = [SPOILED]
    ((group, outcomes),) = backend.wait(0)
    assert ([each.job.name for each in group], outcomes) == (["first"], [SPOILED])  # its result counts
    backend.submit([attempt("third")])
    assert processes.stages() == [["first", "second"], ["third"]]
    backend.wait(0)
    assert not processes.ended  # the second stage still runs there
    old.refs["second"].value = [DONE]
    backend.wait(0)
    backend.wait(0)
    assert processes.ended == [old]
    backend.submit([attempt("fourth")])
    assert processes.stages() == [["first", "second"], ["third", "fourth"]]
