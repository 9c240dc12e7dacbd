"""What made a result, beyond its key: the code's commit, the packages, the command line."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tickets.files import digest

PACKAGES = ("winning-sign", "torch", "torchvision", "ray", "numpy", "pyarrow", "mnist1d")


@cache
def code_provenance() -> dict[str, Any]:
    """Git commit, a digest of uncommitted changes (None when there are none or no git), packages, Python, argv."""
    # an installed copy may lie inside somebody else's repository, whose commit says nothing of this code
    tracked = _git("ls-files", "--error-unmatch", Path(__file__).name)
    commit = _git("rev-parse", "HEAD") if tracked else None
    changes = _git("diff", "HEAD") if commit else None
    return {
        "git_commit": commit.decode().strip() if commit else None,
        "git_dirty_blake2b": digest.of_bytes(changes, size_bytes=8) if changes else None,
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "python": platform.python_version(),
        "argv": sys.argv,
    }


def _git(*arguments: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
