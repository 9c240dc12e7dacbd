"""Attempts on Ray, on this machine or a cluster. The queue, retries and priorities stay with the driver.

On CPUs each group is a task of one core. Each GPU has one actor, whose threads share it among several groups.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import ray
import torch
from ray.exceptions import RayError

from orchestrator.backends.base import BackendError, Group, Lost
from orchestrator.backends.ray_cluster import connect
from workers.attempt import Attempt, Outcome, run_attempts
from workers.streams import POOL


# max_retries=0: retries are the driver's
@ray.remote(max_retries=0)
def _run(attempts: Sequence[Attempt]) -> list[Outcome]:
    return run_attempts(attempts)


class _GpuWorker:
    """A process that keeps its GPU from stage to stage."""

    def run(self, attempts: Sequence[Attempt]) -> list[Outcome]:
        outcomes = run_attempts(attempts)
        if any(outcome.error_type == "AcceleratorError" for outcome in outcomes):
            os._exit(1)  # a process whose GPU failed once can never use it again; this loses it, and another starts
        return outcomes

    def memory_bytes(self) -> int | None:
        return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None


class RayBackend:
    """Stages on a CPU core each, or on the GPUs where there are some and the device allows them.

    Args:
        address: a cluster to join; None starts Ray on this machine, and never joins one that happens to run here.
        max_concurrent: at most so many attempts at a time.
        device: "cpu" keeps attempts off the GPUs.

    Raises:
        BackendError: there is no such cluster, or it has no GPU where one is asked for.
    """

    def __init__(self, address: str | None, max_concurrent: int | None, device: str) -> None:
        connect(address, max_concurrent)
        resources = ray.cluster_resources()
        cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        if device.startswith("cuda") and not gpus:
            ray.shutdown()
            raise BackendError(f"--device {device}: Ray has no GPU here; leave --device out to use CPUs")
        on_gpus = bool(gpus) and device != "cpu"
        room = min(gpus, cpus) if on_gpus else cpus  # every stage takes a CPU, those on a GPU as well
        if room < 1:
            ray.shutdown()
            raise BackendError(f"Ray at {address or 'this machine'} has no CPU free for a stage; add a node with one")
        self.devices = min(room, max_concurrent or room)
        self._workers = [_start_gpu_worker() for _ in range(self.devices)] if on_gpus else []
        # the first one's: packing plans for one kind of GPU
        self.device_bytes = ray.get(self._workers[0].memory_bytes.remote()) if self._workers else None
        self._running: dict[ray.ObjectRef, tuple[Group, Any]] = {}

    def submit(self, attempts: Sequence[Attempt]) -> None:
        if self._workers:
            running = [worker for _, worker in self._running.values()]
            worker = min(self._workers, key=running.count)
            ref = worker.run.remote(attempts)
        else:
            worker = None
            ref = _run.options(num_cpus=1, name=attempts[0].job.name).remote(attempts)
        self._running[ref] = tuple(attempts), worker

    def wait(self, timeout_s: float) -> list[tuple[Group, Sequence[Outcome | Lost]]]:
        if not self._running:
            return []
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=timeout_s)
        return [self._ended(ref) for ref in ready]

    def _ended(self, ref: ray.ObjectRef) -> tuple[Group, Sequence[Outcome | Lost]]:
        group, worker = self._running.pop(ref)
        try:
            return group, ray.get(ref)
        except RayError as error:  # run_attempts returns its own failures: what is raised here is the machinery's
            if worker in self._workers:  # a new one, since a restarting one would refuse what it is sent meanwhile
                self._workers[self._workers.index(worker)] = _start_gpu_worker()
            lost = Lost(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}")
            return group, [lost] * len(group)

    def close(self) -> None:
        ray.shutdown()


def _start_gpu_worker() -> Any:
    worker: Any = ray.remote(_GpuWorker)
    return worker.options(num_cpus=1, num_gpus=1, max_concurrency=POOL).remote()
