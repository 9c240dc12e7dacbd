"""Provenance: what produced a result, beyond its key: the code's commit, packages and command line."""

from __future__ import annotations

import platform
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tickets.files import digest

IMPORTED = "imported"
"""The kind of a stage that copies a ticket from elsewhere (``workers.stages.Imported``, which loads torch)."""
STATED = "ticket"
"""The part of an imported stage's provenance that says where its ticket came from."""
PACKAGES = ("winning-sign", "torch", "torchvision", "ray", "numpy", "pyarrow", "mnist1d")


@cache
def code_provenance() -> dict[str, Any]:
    """Git commit, a digest of uncommitted changes (None if there are none, or no git), packages, Python and argv."""
    # an installed copy may lie inside another repository, whose commit says nothing about this code
    tracked = _git("ls-files", "--error-unmatch", Path(__file__).name)
    commit = _git("rev-parse", "HEAD") if tracked else None
    changes = _git("diff", "HEAD") if commit else None
    return {
        "git_commit": commit.decode().strip() if commit else None,
        "git_dirty_blake2b": digest.of_bytes(changes, size_bytes=8) if changes else None,
        "packages": {name: number for name in PACKAGES if (number := _version(name))},
        "python": platform.python_version(),
        "argv": sys.argv,
    }


def _git(*arguments: str) -> bytes | None:
    with suppress(OSError, subprocess.SubprocessError):
        command = ["git", *arguments]
        return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, check=True, timeout=20).stdout
    return None


def _version(package: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(package)
    return None
