"""A storage whose calls outlast a full disk, a file server that restarts, a network that fails for minutes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from orchestrator.store.record import StoreError
from tickets.files.reading import MOST_BYTES
from workers.storage import Entry, Storage, UnreadableFileError

T = TypeVar("T")
FIRST_PAUSE_S = 0.5


class RetryingStorage:
    """Repeats each call that raises OSError, and raises StoreError once a call has failed for ``limit_s``.

    Once ``stopped`` returns True, a failing call is an error at once.

    FileNotFoundError of a read, download or move, FileExistsError of a creation and UnreadableFileError are answers,
    and are not repeated.

    Args:
        tell: called with a sentence when an outage begins; like ``stopped``, may be replaced at any time.
    """

    def __init__(
        self, storage: Storage, tell: Callable[[str], None], limit_s: float = 300.0, longest_pause_s: float = 10.0
    ) -> None:
        self.root, self.tell = storage.root, tell
        self.stopped: Callable[[], bool] = lambda: False
        self._storage, self._limit_s, self._longest_pause_s = storage, limit_s, longest_pause_s
        self._failing = False

    @property
    def folder(self) -> Path | None:
        return self._storage.folder

    def read(self, path: str, most_bytes: int = MOST_BYTES, *, end: bool = False) -> bytes:
        return self._retry(lambda: self._storage.read(path, most_bytes, end=end), FileNotFoundError)

    def write(self, path: str, content: bytes, *, durable: bool = True) -> None:
        self._retry(lambda: self._storage.write(path, content, durable=durable))

    def append(self, path: str, content: bytes) -> None:
        self._retry(lambda: self._storage.append(path, content))

    def create(self, path: str, content: bytes, *, durable: bool = True) -> None:
        self._retry_once(
            lambda: self._storage.create(path, content, durable=durable),
            FileExistsError,
            lambda: self._storage.read(path) == content,
        )

    def exists(self) -> bool:
        return self._retry(self._storage.exists)

    def listing(self, prefix: str = "") -> dict[str, Entry]:
        return self._retry(lambda: self._storage.listing(prefix))

    def irregular(self) -> dict[str, str]:
        return self._retry(self._storage.irregular)

    def upload(self, source: Path, path: str) -> None:
        self._retry(lambda: self._storage.upload(source, path))

    def download(self, path: str, target: Path) -> None:
        self._retry(lambda: self._storage.download(path, target), FileNotFoundError)

    def move(self, path: str, to: str) -> None:
        self._retry_once(
            lambda: self._storage.move(path, to),
            FileNotFoundError,
            lambda: to in self._storage.listing(to.rpartition("/")[0]),
        )

    def remove(self, paths: Iterable[str]) -> None:
        doomed = list(paths)
        self._retry(lambda: self._storage.remove(doomed))

    def _retry_once(self, call: Callable[[], None], answer: type[OSError], done: Callable[[], bool]) -> None:
        """Retry a call that works once: after a failure, ``answer`` may mean that an earlier try did the work."""
        failed_before = False

        def attempt() -> None:
            nonlocal failed_before
            try:
                call()
            except answer:
                if not failed_before or not done():
                    raise
            except OSError:
                failed_before = True
                raise

        self._retry(attempt, answer)

    def _sleep(self, seconds: float) -> None:
        """Sleep, at most until a stop is asked for."""
        for _ in range(math.ceil(seconds / FIRST_PAUSE_S)):
            if not self.stopped():
                time.sleep(FIRST_PAUSE_S)

    def _retry(self, call: Callable[[], T], *answers: type[OSError]) -> T:
        began, pause_s = time.monotonic(), FIRST_PAUSE_S
        final: tuple[type[OSError], ...] = (UnreadableFileError, *answers)
        while True:
            try:
                result = call()
            except final:
                raise
            except (IsADirectoryError, NotADirectoryError) as error:  # no outage: trying again is vain
                what = f"{error.filename2 or error.filename}: {error.strerror}"
                raise UnreadableFileError(f"{what}; move away what stands there") from error
            except OSError as error:
                waited_s = time.monotonic() - began
                if waited_s > self._limit_s or self.stopped():
                    raise StoreError(
                        f"the store failed for {waited_s:.0f} s: {error}; committed stages are safe: mend the store, "
                        f"and repeat the command to go on"
                    ) from error
                if not self._failing:
                    self._failing = True
                    self.tell(f"The store fails ({error}); trying again for up to {self._limit_s / 60:.0f} min.")
                self._sleep(pause_s)
                pause_s = min(2 * pause_s, self._longest_pause_s)
            else:
                self._failing = False
                return result
