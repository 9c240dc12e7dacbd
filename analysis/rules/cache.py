"""What was found in committed files, kept in the user's cache: they never change, and large ones take long to read."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from orchestrator.store import KEY_DIGITS, Store, user_cache
from orchestrator.store.record import digest

FORMAT = 1
"""Raised when what is asked of the files changes: older answers are forgotten then."""
Answer = dict[str, int]


class Memory:
    """Answers by question and by the versions of the files that were read; a damaged file of them is as good as none.

    Args:
        path: where they are kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = _read(path)
        self._changed = False

    @classmethod
    def of(cls, store: Store) -> Memory:
        """The memory of a store."""
        return cls(user_cache() / digest(store.root)[:KEY_DIGITS] / "checks.json")

    def recall(self, question: str, versions: str, look: Callable[[], Answer]) -> Answer:
        """The answer as it was, or else as ``look`` finds it now.

        Args:
            versions: of the files that the answer is about; an answer about other ones does not count.
        """
        before, answer = self._kept.get(question, ("", {}))
        if before == versions:
            return answer
        answer = look()
        self._kept[question] = (versions, answer)
        self._changed = True
        return answer

    def save(self) -> None:
        """Keep what was found since it was read; where that cannot be, it is found anew next time."""
        if not self._changed:
            return
        body = json.dumps({"format": FORMAT, "answers": self._kept})
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, prefix=".checks.", delete=False) as file:
                made = Path(file.name)
                file.write(f"{digest(body)}\n{body}")
            made.replace(self._path)  # another reader sees all of it or none
            self._changed = False


def _read(path: Path) -> dict[str, tuple[str, Answer]]:
    try:
        sealed, _, body = path.read_text().partition("\n")
        content = json.loads(body) if sealed == digest(body) else {}
    except (OSError, ValueError):
        return {}
    if content.get("format") != FORMAT:
        return {}
    return {question: (versions, answer) for question, (versions, answer) in content["answers"].items()}
