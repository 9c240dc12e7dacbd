"""Count the CPU cores that this process may use, which may be fewer than the machine has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MEMBERSHIP = Path("/proc/self/cgroup")
MOUNTS = Path("/sys/fs/cgroup")


def usable_cores(membership: Path = MEMBERSHIP, mounts: Path = MOUNTS) -> int:
    """Count the cores of the process's affinity, at most its cgroups' CPU quota, rounded down; at least 1.

    A job step of Slurm has an affinity, a container a quota.

    Args:
        membership: the file that names the process's cgroups.
        mounts: the folder with the cgroups' files, of version 1 or 2.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([float(affinity), *_quotas(membership, mounts)])))


def _quotas(membership: Path, mounts: Path) -> Iterator[float]:
    """Quotas in cores, of the process's cgroups and of all cgroups around them."""
    for line in _text(membership).splitlines():
        _, _, named = line.partition(":")
        controllers, _, path = named.partition(":")
        inside = PurePosixPath(path.lstrip("/"))
        for group in (inside, *inside.parents):  # a container may see its own group as the root
            if not controllers:
                for mount in (mounts, mounts / "unified"):
                    yield from _quota(_text(mount / group / "cpu.max").split())
            elif "cpu" in controllers.split(","):
                for mount in (mounts / "cpu", mounts / controllers):
                    files = (mount / group / f"cpu.cfs_{name}_us" for name in ("quota", "period"))
                    yield from _quota([_text(file).strip() for file in files])


def _quota(words: list[str]) -> Iterator[float]:
    """Quota and period in microseconds as cores; nothing where there is no limit ("max" or -1)."""
    if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
        yield int(words[0]) / int(words[1])


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
