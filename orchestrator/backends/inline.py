"""Attempts as threads of this process: no Ray, nothing to install, easy to debug.

A CPU runs one group at a time. A GPU may be shared by several small stages, each with a CUDA stream of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import torch

from orchestrator.backends.base import Group, Lost
from workers.attempts.attempt import Attempt, Outcome, run_attempts
from workers.devices.streams import POOL


class InlineBackend:
    """Runs groups of attempts in threads, on one device."""

    devices, wanted = 1, 0

    def __init__(self, device: torch.device) -> None:
        gpu = device.type == "cuda"
        self.device_bytes = torch.cuda.get_device_properties(device).total_memory if gpu else None
        self._threads = ThreadPoolExecutor(POOL, thread_name_prefix="stage")
        self._running: dict[Future[list[Outcome]], Group] = {}

    def submit(self, attempts: Sequence[Attempt]) -> None:
        self._running[self._threads.submit(run_attempts, attempts)] = tuple(attempts)

    def wait(self, timeout_s: float) -> list[tuple[Group, Sequence[Outcome | Lost]]]:
        ended, _ = wait(self._running, timeout_s, FIRST_COMPLETED)
        return [(self._running.pop(future), future.result()) for future in ended]

    def end(self, attempt: Attempt) -> bool:
        return False  # a thread cannot be ended

    def draining(self) -> Collection[str]:
        return ()

    def close(self) -> None:
        self._threads.shutdown()
