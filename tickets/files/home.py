"""The user's home folder: "~" at the beginning of a path, the folder for caches, and texts without such folders."""

from __future__ import annotations

import os
import re
from pathlib import Path

_PATH = re.compile(r"""(?<=['"])/(?!/)[^'"\n]+|(?:(?<=file://)|(?<![\w./…-]))/(?!/)[^\s'"]+""")
_OF_USERS = ("/home", "/Users")


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


def without_folders(text: str) -> str:
    """Write ``…/`` for the folders of absolute paths in a message, so that others may read it; URLs stay."""
    return _PATH.sub(lambda path: last_part(path[0]), text)


def last_part(path: str) -> str:
    """Write ``…/`` for the folders of an absolute path, and ``…`` for a user's home folder."""
    folder, _, name = path.rpartition("/")
    if folder.endswith(_OF_USERS):
        return "…"
    return f"…/{name}" if folder.strip("/") else path
