"""Cache results computed from committed files: such files never change, and reading large ones is slow."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestrator.store import user_cache
from orchestrator.store.record import digest

VERSIONS = {"tickets": 2, "checks": 2}
"""Raise a kind's version when the same files give another result, or when its values change their form."""


class Cache:
    """JSON values by name, one file each; two processes may share a cache.

    Each file begins with a digest of the rest, so that a damaged file reads as no value. Each file is replaced in one
    step, so that a reader never sees half of it.

    Args:
        kind: of the values: a key of ``VERSIONS``.
        folder: by default in the user's cache.
    """

    def __init__(self, kind: str, folder: Path | None = None) -> None:
        self.folder = (folder or user_cache().parent) / kind / f"v{VERSIONS[kind]}"

    def get(self, name: str) -> Any | None:
        """Return a kept value; None if there is none, or its file is damaged."""
        try:
            seal, content = self._path(name).read_text().split("\n", 1)
        except (OSError, ValueError):  # ValueError: truncated, or no text
            return None
        return json.loads(content) if seal == digest(content) else None

    def put(self, name: str, value: Any) -> None:
        """Keep a value; where the folder cannot be written, nothing is kept."""
        content = json.dumps(value)
        path = self._path(name)
        with suppress(OSError):  # a full disk or a read-only home costs time, never the report
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".new.", delete=False) as file:
                written = Path(file.name)
                try:
                    file.write(f"{digest(content)}\n{content}")
                    file.flush()
                    written.replace(path)
                finally:
                    written.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        short = digest(name)
        return self.folder / short[:2] / f"{short}.json"
