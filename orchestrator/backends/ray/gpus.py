"""Actors that keep a GPU each, on present machines or on machines that the autoscaler starts for them."""

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
from workers.attempts.attempt import Attempt, Outcome, run_attempts
from workers.devices.streams import POOL


class _GpuWorker:
    """A process that keeps its GPU from stage to stage."""

    def run(self, attempts: Sequence[Attempt]) -> list[Outcome]:
        outcomes = run_attempts(attempts, own_node())
        if any(outcome.error_type == "AcceleratorError" for outcome in outcomes):
            os._exit(1)  # a process whose GPU failed once can never use it again; another process starts
        return outcomes

    def memory_bytes(self) -> int | None:
        return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None

    def node(self) -> str:
        return own_node()


def own_node() -> str:
    """Ray's id of this process's machine."""
    return str(ray.get_runtime_context().get_node_id())


@dataclass(eq=False)
class Gpu:
    """A GPU's actor.

    Attributes:
        node: id of its machine; None while the actor starts, empty if it died.
        idle_since_s: when its last group ended.
        killed: its process was ended, because a stage on it hung.
        spoiled: it takes no further stage, and ends when its last one does.
    """

    ranks: ClassVar = 1
    actor: Any
    node_ref: Any
    node: str | None = None
    idle_since_s: float = field(default_factory=time.monotonic)
    killed: bool = False
    spoiled: bool = False

    @classmethod
    def start(cls) -> Gpu:
        """Start an actor, which waits for a GPU if none is free."""
        worker: Any = ray.remote(_GpuWorker)
        actor = worker.options(num_cpus=1, num_gpus=1, max_concurrency=POOL).remote()
        return cls(actor, actor.node.remote())

    def kill(self) -> None:
        """End its process, and with it every group that runs there."""
        self.killed = True
        ray.kill(self.actor)

    def memory_bytes(self, timeout_s: float) -> int | None:
        """The GPU's memory, None if torch does not see it; raise BackendError if the GPU cannot be used in time."""
        try:
            memory_bytes: int | None = ray.get(self.actor.memory_bytes.remote(), timeout=timeout_s)
        except GetTimeoutError as error:
            raise BackendError(f"no GPU became free within {timeout_s / 60:.0f} min; `ray status` tells why") from error
        except RayError as error:
            raise BackendError(f"the first GPU's process did not start: {first_line(error)}") from error
        return memory_bytes

    def refresh(self) -> None:
        """Set ``node`` if the actor has started or died."""
        if self.node is None and ray.wait([self.node_ref], timeout=0)[0]:
            try:
                self.node = ray.get(self.node_ref)
            except RayError:
                self.node = ""  # its groups are lost, and the actor is dropped with them


def first_line(error: RayError) -> str:
    """The error's first line, for users."""
    return str(error).splitlines()[0] if str(error) else "no message"


class PendingGpus:
    """GPUs whose machine may still have to start: an actor that waits for a GPU makes the autoscaler start one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._pending: list[Gpu] = []

    def request(self, present: int, gpus: int = 1) -> None:
        """Start actors for this many more GPUs, up to ``most`` together with those present or pending."""
        for _ in range(min(gpus, self._most - present - len(self._pending))):
            self._pending.append(Gpu.start())

    def want(self, present: int, gpus: int) -> None:
        """Request as many as are still to come of this many more, such as in place of spot machines that went."""
        self.request(present, gpus - len(self._pending))

    def take_started(self, present: int, timeout_s: float) -> list[Gpu]:
        """Remove and return the GPUs whose actor has started; wait for a first one up to ``timeout_s``."""
        if not present and not self._pending:  # all are gone, as spot machines go
            self.request(present)
        if self._pending and timeout_s:
            ray.wait([gpu.node_ref for gpu in self._pending], timeout=timeout_s)
        for gpu in self._pending:
            gpu.refresh()
        started = [gpu for gpu in self._pending if gpu.node is not None]
        self._pending = [gpu for gpu in self._pending if gpu.node is None]
        for gpu in started:
            gpu.idle_since_s = time.monotonic()
        return [gpu for gpu in started if gpu.node]  # without those that died again already
