"""The user's home folder: "~" at the beginning of a path, and the folder for caches."""

from __future__ import annotations

import os
from pathlib import Path


class NoHomeError(OSError):
    """No home folder is known; the message names the remedy."""


def expanded(path: Path | str) -> Path:
    """Replace a leading ``~`` or ``~user`` by the home folder; raise NoHomeError if there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise NoHomeError(f"{path}: there is no such home folder; give the whole path") from error


def user_cache() -> Path:
    """Return the folder of Winning Sign in the user's cache.

    Raises:
        NoHomeError: neither XDG_CACHE_HOME nor HOME is set, and this user has no entry in the list of users.
    """
    try:
        return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "winning-sign"
    except NoHomeError as error:
        raise NoHomeError("there is no home folder for a cache: set HOME or XDG_CACHE_HOME") from error
