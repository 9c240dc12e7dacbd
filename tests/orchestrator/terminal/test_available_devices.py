"""The devices that a plan counts on this machine are the cores that the process may use."""

from __future__ import annotations

import os

import pytest

from orchestrator.terminal.arguments import available_devices
from orchestrator.terminal.options import PlacementOptions
from workers.stages.execution import Execution


@pytest.mark.parametrize(
    ("most", "backend", "expected"), [(None, "ray", 3), (2, "ray", 2), (8, "ray", 3), (None, "inline", 1)]
)
def test_a_plan_counts_the_cores_of_the_affinity(
    monkeypatch: pytest.MonkeyPatch, most: int | None, backend: str, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 5})
    monkeypatch.setattr("workers.devices.cores._quotas", lambda *_: [])
    placement = PlacementOptions(backend=backend, max_concurrent=most)
    assert available_devices(placement, Execution("cpu", None, "cache")) == expected
