"""Actors that keep a GPU each: started on what is there, or asked for of an autoscaler and counted in as they come."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import ray
import torch
from ray.exceptions import GetTimeoutError, RayError

from orchestrator.backends.base import BackendError
from orchestrator.backends.ray.errors import first_line
from workers.attempts.attempt import Attempt, Outcome, run_attempts
from workers.devices.streams import POOL


class _GpuWorker:
    """A process that keeps its GPU from stage to stage."""

    def run(self, attempts: Sequence[Attempt]) -> list[Outcome]:
        outcomes = run_attempts(attempts, own_node())
        if any(outcome.error_type == "AcceleratorError" for outcome in outcomes):
            os._exit(1)  # a process whose GPU failed once can never use it again; this loses it, and another starts
        return outcomes

    def memory_bytes(self) -> int | None:
        return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None

    def node(self) -> str:
        return own_node()


def own_node() -> str:
    """The machine that this process runs on."""
    return str(ray.get_runtime_context().get_node_id())


@dataclass(eq=False)
class Gpu:
    """A GPU's actor.

    Attributes:
        node: once known, where it runs.
        idle_since_s: when its last group ended.
        killed: its process was ended, because a stage on it hung.
    """

    ranks: ClassVar = 1
    actor: Any
    asked: Any
    node: str | None = None
    idle_since_s: float = field(default_factory=time.monotonic)
    killed: bool = False

    def kill(self) -> None:
        """End its process; what else runs there is lost with it."""
        self.killed = True
        ray.kill(self.actor)

    @classmethod
    def start(cls) -> Gpu:
        worker: Any = ray.remote(_GpuWorker)
        actor = worker.options(num_cpus=1, num_gpus=1, max_concurrency=POOL).remote()
        return cls(actor, actor.node.remote())

    def memory_bytes(self, timeout_s: float) -> int | None:
        """Of the GPU; None where Ray only believes in it.

        Raises:
            BackendError: there is none in this time, or it cannot be used.
        """
        try:
            found: int | None = ray.get(self.actor.memory_bytes.remote(), timeout=timeout_s)
        except GetTimeoutError as error:
            raise BackendError(f"no GPU became free within {timeout_s / 60:.0f} min; `ray status` tells why") from error
        except RayError as error:
            raise BackendError(f"the first GPU's process did not start: {first_line(error)}") from error
        return found

    def find(self) -> None:
        if self.node is None and ray.wait([self.asked], timeout=0)[0]:
            try:
                self.node = ray.get(self.asked)
            except RayError:
                self.node = ""  # it died; whatever it ran is lost, and it is dropped then


class Arrivals:
    """GPUs whose machine may still have to start: an actor that waits for one makes the autoscaler start it.

    Args:
        most: GPUs, with those that have come.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._coming: list[Gpu] = []

    def ask(self, there: int, gpus: int = 1) -> None:
        """For so many more than are there or coming, though never for more than the most."""
        for _ in range(min(gpus, self._most - there - len(self._coming))):
            self._coming.append(Gpu.start())

    def come(self, there: int, timeout_s: float) -> list[Gpu]:
        """Those whose machine has come by now, or within some time."""
        if not there and not self._coming:  # all are gone, as spot machines go
            self.ask(there)
        if self._coming and timeout_s:
            ray.wait([gpu.asked for gpu in self._coming], timeout=timeout_s)
        for gpu in self._coming:
            gpu.find()
        found = [gpu for gpu in self._coming if gpu.node is not None]
        self._coming = [gpu for gpu in self._coming if gpu.node is None]
        for gpu in found:
            gpu.idle_since_s = time.monotonic()
        return [gpu for gpu in found if gpu.node]  # else it is gone again already
