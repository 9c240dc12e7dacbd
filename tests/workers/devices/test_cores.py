"""The cores that a process may use: its affinity and its cgroups' quotas, not the machine's size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.devices.cores import usable_cores


@pytest.fixture(autouse=True)
def _sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))


def cores(folder: Path, membership: str, files: dict[str, str]) -> int:
    (folder / "cgroup").write_text(membership)
    for name, content in files.items():
        (folder / "mounts" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mounts" / name).write_text(content)
    return usable_cores(folder / "cgroup", folder / "mounts")


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {}, 16),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
        ("0::/\n", {"cpu.max": "400000 100000\n"}, 4),
        ("0::/\n", {"cpu.max": "450000 100000\n"}, 4),
        ("0::/\n", {"cpu.max": "20000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "6400000 100000\n"}, 16),
        ("0::/\n", {"cpu.max": "damaged"}, 16),
        ("0::/\n", {"cpu.max": "100000 0\n"}, 16),
        ("0::/a/b\n", {"cpu.max": "max 100000", "a/cpu.max": "300000 100000", "a/b/cpu.max": "500000 100000"}, 3),
        ("5:cpu,cpuacct:/job\n0::/\n", {"cpu,cpuacct/job/cpu.cfs_quota_us": "-1\n"}, 16),
        (
            "5:cpu,cpuacct:/job/step\n3:cpuset:/\n",
            {"cpu,cpuacct/job/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n"},
            2,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "10000\n"}, 5),
        ("1:cpu:/\n0::/x\n", {"unified/x/cpu.max": "700000 100000\n"}, 7),
        # Docker with version 1: the path is the host's, and the container sees its own group as the root
        (
            "4:cpu:/docker/0123\n",
            {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            3,
        ),
    ],
)
def test_a_quota_bounds_the_cores(tmp_path: Path, membership: str, files: dict[str, str], expected: int) -> None:
    assert cores(tmp_path, membership, files) == expected


def test_the_affinity_bounds_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 7})
    assert cores(tmp_path, "0::/\n", {"cpu.max": "400000 100000"}) == 2


def test_a_system_without_cgroups_counts_the_affinity(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "none", tmp_path / "none") == 16
