"""Cache results computed from committed files: such files never change, and reading large ones is slow."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from tickets.files import digest
from tickets.files.home import NoHomeError, user_cache
from tickets.files.writing import write_atomically

VERSIONS = {"tickets": 2, "checks": 2}
"""Raise a kind's version when the same files give another result, or when its values change their form."""


class Cache:
    """JSON values by name, one file each; two processes may share a cache.

    Each file begins with a digest of the rest, so that a damaged file reads as no value. Each file is replaced in one
    step, so that a reader never sees half of it.

    Args:
        kind: of the values: a key of ``VERSIONS``.
        folder: by default in the user's cache; a user without a home folder has none, and nothing is kept.
    """

    def __init__(self, kind: str, folder: Path | None = None) -> None:
        with suppress(NoHomeError):
            folder = folder or user_cache()
        self.folder = folder / kind / f"v{VERSIONS[kind]}" if folder else None

    def get(self, name: str) -> Any | None:
        """Return a kept value; None if there is none, or its file is damaged."""
        try:
            seal, _, content = self._path(name).read_bytes().partition(b"\n")
        except OSError:
            return None
        return json.loads(content) if seal == digest.of_bytes(content).encode() else None

    def put(self, name: str, value: Any) -> None:
        """Keep a value; where the folder cannot be written, nothing is kept."""
        content = json.dumps(value).encode()
        with suppress(OSError):  # a full disk or a read-only home costs time, never the report
            write_atomically(self._path(name), digest.of_bytes(content).encode() + b"\n" + content, durable=False)

    def _path(self, name: str) -> Path:
        if self.folder is None:
            raise NoHomeError("there is no folder for the cache")
        short = digest.of_text(name)
        return self.folder / short[:2] / f"{short}.json"
