"""Waits for a store that cannot be reached or written for a while: a full disk, a file server that restarts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from orchestrator.store import StoreError

T = TypeVar("T")


class Patience:
    """Calls that are repeated while they fail for the store's sake.

    Args:
        tell: told once, when waiting begins, what for.
        limit_s: how long, in all, for one call.
    """

    def __init__(self, tell: Callable[[str], None], limit_s: float = 300.0, longest_pause_s: float = 10.0) -> None:
        self._tell, self._limit_s, self._longest_pause_s = tell, limit_s, longest_pause_s

    def __call__(self, call: Callable[[], T]) -> T:
        """The call's result.

        Raises:
            StoreError: it failed for too long.
        """
        began, pause_s = time.monotonic(), 0.5
        while True:
            try:
                return call()
            except OSError as error:
                waited = time.monotonic() - began
                if waited > self._limit_s:
                    raise StoreError(
                        f"the store failed for {waited:.0f} s: {error}; what is committed is safe: mend it, and the "
                        f"same command goes on"
                    ) from error
                if pause_s == 0.5:
                    self._tell(f"The store fails ({error}); trying again for up to {self._limit_s / 60:.0f} min.")
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, self._longest_pause_s)
