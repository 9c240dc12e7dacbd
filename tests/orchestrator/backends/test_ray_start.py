"""What Ray raises at its start is one sentence with a remedy, and Ray gets the cores that this process may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import ray

from orchestrator.backends.base import BackendError
from orchestrator.backends.ray.cluster import connect

ROOT = Path(__file__).parents[3]


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What Ray is started with, in place of a start."""
    given: dict[str, Any] = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(ray, "init", lambda **options: given.update(options))
    return given


@pytest.mark.parametrize(
    "error",
    [
        Exception("The current node timed out during startup.\nThis could happen because …"),
        OSError("validate_socket_filename failed: AF_UNIX path length cannot exceed 107 bytes"),
        PermissionError(13, "Permission denied", "/tmp/ray"),
        AssertionError(),
    ],
)
def test_an_error_of_any_kind_is_one_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(
        BackendError, match=r"^Ray at this machine: .*; repeat the command, or run without Ray"
    ) as raised:
        connect(None, None)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("asked", "expected"), [(None, 3), (2, 2), (8, 3)])
def test_a_private_ray_has_the_cores_of_the_affinity(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, asked: int | None, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 5})
    monkeypatch.setattr("workers.devices.cores._quotas", lambda *_: [])
    connect(None, asked)
    assert options["num_cpus"] == expected
