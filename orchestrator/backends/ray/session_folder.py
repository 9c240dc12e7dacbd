"""Choose the folder of a private Ray's sockets and logs: Ray's own choice fails where TMPDIR is long or closed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from orchestrator.backends.base import BackendError

VARIABLE = "RAY_TMPDIR"
LONGEST_BYTES = 107
"""Longest path of a Unix socket, on Linux."""
WITHIN = "/ray/session_2026-11-29_03-08-09_123456_4194304/sockets/plasma_store.1"
"""The longest path that Ray makes within the folder."""
SHORT = Path("/tmp")


def session_parent(environment: Mapping[str, str] = os.environ, short: Path = SHORT) -> str:
    """Return the value of RAY_TMPDIR: as the environment has it if usable, else a folder of this user's in /tmp.

    Raises:
        BackendError: neither can be used.
    """
    name = next((name for name in (VARIABLE, "TMPDIR") if environment.get(name)), None)
    given = Path(environment[name]) if name else short
    fault = _fault(given)
    if fault is None:
        return str(given)
    own = short / f"winning-sign-{os.getuid()}"
    try:
        own.mkdir(mode=0o700, exist_ok=True)
        status = own.lstat()
        usable = status.st_uid == os.getuid() and not own.is_symlink() and status.st_mode & 0o022 == 0
        fault_of_own = _fault(own) if usable else "belongs to somebody else, or others may write there"
    except OSError as error:
        fault_of_own = (error.strerror or str(error)).lower()
    if fault_of_own is not None:
        raise BackendError(
            f"Ray needs a folder for its sockets: {name or 'the default'}={given} {fault}, and {own} {fault_of_own}; "
            f"set {VARIABLE} to a folder of your own with a short path"
        )
    return str(own)


def _fault(folder: Path) -> str | None:
    """Why Ray cannot make its sockets in ``folder/ray``; None if it can."""
    if len(os.fsencode(folder.absolute())) + len(WITHIN) > LONGEST_BYTES:
        return f"is longer than {LONGEST_BYTES - len(WITHIN)} bytes"
    if not folder.is_dir():
        return "is no folder"
    place = folder / "ray" if (folder / "ray").exists() else folder
    if not place.is_dir():
        return f"holds {place.name}, which is no folder"
    if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
        return "is not writable" if place == folder else f"holds {place.name}, a folder of another user"
    return None
