"""Comparisons of tickets, kept in the user's cache: a finished ticket never changes, so each is made once.

One file per pair, named by the tickets' keys *and* contents: two machines round differently, and so can make two
tickets of one key. Files are put in place in one step, so that two processes may write one at once; each begins with
a digest of the rest, and one that is not what was written is made anew.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from analysis.signs.bits import COUNTS, Comparison
from orchestrator.store import user_cache
from orchestrator.store.record import digest

VERSION = 1
"""Raised when the same two tickets give other counts than before."""


class ComparisonCache:
    """Comparisons by the names of their two tickets; a folder that cannot be written only keeps nothing.

    Args:
        folder: by default in the user's cache.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or user_cache().parent / "tickets" / f"v{VERSION}"

    def get(self, a: str, b: str) -> Comparison | None:
        """A comparison that was kept; None if it was not, or is damaged."""
        try:
            sum_, content = self._path(a, b).read_text().split("\n", 1)
        except (OSError, ValueError):  # ValueError: torn, or no text at all
            return None
        if sum_ != digest(content):
            return None
        kept = json.loads(content)
        counts = np.array(kept["counts"], np.int64).reshape(-1, len(COUNTS))
        return Comparison(tuple(kept["tensors"]), tuple(kept["roles"]), counts)

    def put(self, a: str, b: str, comparison: Comparison) -> None:
        """Keep a comparison."""
        content = json.dumps(
            {"tensors": comparison.tensors, "roles": comparison.roles, "counts": comparison.counts.tolist()}
        )
        path = self._path(a, b)
        with suppress(OSError):  # a full disk or a read-only home costs time, never the report
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".made.", delete=False) as file:
                made = Path(file.name)
                try:
                    file.write(f"{digest(content)}\n{content}")
                    file.flush()
                    made.replace(path)
                finally:
                    made.unlink(missing_ok=True)

    def _path(self, a: str, b: str) -> Path:
        name = digest(f"{a} {b}")
        return self.folder / name[:2] / f"{name}.json"
