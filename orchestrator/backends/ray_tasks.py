"""Attempts on Ray, on this machine or a cluster. The queue, retries and priorities stay with the driver.

On CPUs each group is a task of one core. Each GPU has one actor, whose threads share it among several groups.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Sequence
from typing import Any

import ray
import torch
from ray.exceptions import RayError

from orchestrator.backends.base import BackendError, Group, Lost
from workers.attempt import Attempt, Outcome, run_attempts
from workers.streams import POOL

OBJECT_STORE_BYTES = 200_000_000  # tasks pass paths, not tensors
ARRIVAL_POLL_S = 5.0


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
        scale_to: GPUs, or CPUs with device "cpu", that the autoscaler may bring; None takes what is there. Being
            asked for makes it start machines; ``devices`` grows as they come, and shrinks as they go.

    Raises:
        BackendError: there is no such cluster, or it has no GPU where one is asked for.
    """

    def __init__(
        self, address: str | None, max_concurrent: int | None, device: str, scale_to: int | None = None
    ) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        if address is None:
            # Ray listens on every interface and runs what it is sent: a private one answers to this token only
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        os.environ.setdefault("RAY_DEDUP_LOGS", "1")
        try:
            if address is None:
                ray.init(
                    address="local",
                    num_cpus=max_concurrent,  # None: as many as this machine or container has
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                )
            else:
                ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        except (RayError, ConnectionError, ValueError, RuntimeError) as error:
            hint = "; a cluster with a token needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" if address else ""
            raise BackendError(f"Ray at {address or 'this machine'}: {error}{hint}") from error
        resources = ray.cluster_resources()
        cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        if scale_to:
            cpus, gpus = scale_to, 0 if device == "cpu" else scale_to
        if device.startswith("cuda") and not gpus:
            ray.shutdown()
            raise BackendError(f"--device {device}: Ray has no GPU here; leave --device out to use CPUs")
        on_gpus = bool(gpus) and device != "cpu"
        room = min(gpus, cpus) if on_gpus else cpus  # every stage takes a CPU, those on a GPU as well
        if room < 1:
            ray.shutdown()
            raise BackendError(
                f"Ray at {address or 'this machine'} has no CPU free for a stage; add a node with one, or let the "
                "cluster's autoscaler do it: --scale-to N"
            )
        self.devices = min(room, max_concurrent or room)
        self._running: dict[ray.ObjectRef, tuple[Group, Any]] = {}
        self._workers: list[Any] = []
        self._arriving: dict[ray.ObjectRef, Any] = {}  # workers whose machine may still have to start
        self._scales = bool(scale_to)
        for _ in range(self.devices if on_gpus else 0):
            self._start_gpu_worker()
        while self._arriving and not self._workers:
            self._welcome(ARRIVAL_POLL_S)
        # the first one's: packing plans for one kind of GPU
        self.device_bytes = ray.get(self._workers[0].memory_bytes.remote()) if self._workers else None

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
        self._welcome(0 if self._running or self._workers else timeout_s)
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
                self._workers.remove(worker)
                self._start_gpu_worker()
            lost = Lost(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}")
            return group, [lost] * len(group)

    def _start_gpu_worker(self) -> None:
        build: Any = ray.remote(_GpuWorker)
        worker = build.options(num_cpus=1, num_gpus=1, max_concurrency=POOL).remote()
        if self._scales:  # what is sent to a machine that never comes would wait for ever
            self._arriving[worker.memory_bytes.remote()] = worker
            self.devices = len(self._workers)
        else:
            self._workers.append(worker)

    def _welcome(self, timeout_s: float) -> None:
        """Count in a worker whose machine has come."""
        if not self._arriving:
            return
        for ref in ray.wait(list(self._arriving), num_returns=1, timeout=timeout_s)[0]:
            worker = self._arriving.pop(ref)
            try:
                ray.get(ref)
            except RayError:  # gone again already, as spot machines go
                self._start_gpu_worker()
            else:
                self._workers.append(worker)
                self.devices = len(self._workers)

    def close(self) -> None:
        ray.shutdown()
