"""Attempts on Ray, on this machine or a cluster. The queue, retries and priorities stay with the driver.

On CPUs each group is a task of one core. Each GPU has one actor, whose threads share it among several groups. A gang
holds its devices from one of its stages to the next, until something else needs them.
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
from orchestrator.backends.ray_gang import RayGang
from orchestrator.gangs import width
from workers.attempt import Attempt, Outcome, run_attempts
from workers.streams import POOL

OBJECT_STORE_BYTES = 200_000_000  # tasks pass paths, not tensors


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
        ranks: of the largest gang that will be submitted.

    Raises:
        BackendError: there is no such cluster, or it has no GPU where one is asked for, or too few for a gang.
    """

    def __init__(self, address: str | None, max_concurrent: int | None, device: str, ranks: int = 1) -> None:
        if ranks > 1:
            max_concurrent = None  # which counts stages, and is the driver's; here are devices
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
        if device.startswith("cuda") and not gpus:
            ray.shutdown()
            raise BackendError(f"--device {device}: Ray has no GPU here; leave --device out to use CPUs")
        on_gpus = bool(gpus) and device != "cpu"
        room = min(gpus, cpus) if on_gpus else cpus  # every stage takes a CPU, those on a GPU as well
        if room < 1:
            ray.shutdown()
            raise BackendError(f"Ray at {address or 'this machine'} has no CPU free for a stage; add a node with one")
        if ranks > room:
            ray.shutdown()
            raise BackendError(
                f"--gpus-per-stage {ranks}: Ray at {address or 'this machine'} has {room} "
                f"{'GPU' if on_gpus else 'CPU'}{'s' if room > 1 else ''} for stages, so that none could ever start; "
                f"give at most {room}"
            )
        self.devices, self._on_gpus = min(room, max_concurrent or room), on_gpus
        self._gangs: list[RayGang] = []
        self._workers = [_start_gpu_worker() for _ in range(self.devices)] if on_gpus else []
        # the first one's: packing plans for one kind of GPU
        self.device_bytes = ray.get(self._workers[0].memory_bytes.remote()) if self._workers else None
        self._running: dict[ray.ObjectRef, tuple[Group, Any]] = {}

    @property
    def free(self) -> int:
        return self.devices - self._narrow - sum(gang.ranks for gang in self._gangs if self._is_busy(gang))

    @property
    def _narrow(self) -> int:
        """Devices on which groups of one device run."""
        places = [place for _, place in self._running.values() if not isinstance(place, RayGang)]
        return len({id(worker) for worker in places}) if self._on_gpus else len(places)

    def _is_busy(self, gang: RayGang) -> bool:
        return any(place is gang for _, place in self._running.values())

    def submit(self, attempts: Sequence[Attempt]) -> None:
        ranks = width(attempts[0].job.stage)
        if ranks > 1:
            place: Any = self._gang(ranks)
            ref = place.submit(attempts[0])
        elif self._on_gpus:
            self._make_room(1)
            running = [worker for _, worker in self._running.values()]
            place = min(self._workers, key=running.count)
            ref = place.run.remote(attempts)
        else:
            self._make_room(1)
            place = None
            ref = _run.options(num_cpus=1, name=attempts[0].job.name).remote(attempts)
        self._running[ref] = tuple(attempts), place

    def _gang(self, ranks: int) -> RayGang:
        """An idle gang of this size, or a new one on devices that nothing else uses."""
        for gang in self._gangs:
            if gang.ranks == ranks and not self._is_busy(gang):
                return gang
        self._make_room(ranks)
        if self._on_gpus:
            busy = [worker for _, worker in self._running.values()]
            for worker in [worker for worker in self._workers if worker not in busy][:ranks]:
                self._workers.remove(worker)
                ray.kill(worker)
        self._gangs.append(RayGang(ranks, on_gpus=self._on_gpus))
        return self._gangs[-1]

    def _make_room(self, devices: int) -> None:
        """Close idle gangs until so many devices are nobody's, or no gang is idle."""
        for gang in [gang for gang in self._gangs if not self._is_busy(gang)]:
            if self.devices - self._narrow - sum(held.ranks for held in self._gangs) >= devices:
                return
            gang.close()
            self._give_up(gang)

    def _give_up(self, gang: RayGang) -> None:
        """A gang that ends leaves its GPUs to workers of their own."""
        self._gangs.remove(gang)
        if self._on_gpus:
            self._workers += [_start_gpu_worker() for _ in range(gang.ranks)]

    def wait(self, timeout_s: float) -> list[tuple[Group, Sequence[Outcome | Lost]]]:
        if not self._running:
            return []
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=timeout_s)
        return [self._ended(ref) for ref in ready]

    def _ended(self, ref: ray.ObjectRef) -> tuple[Group, Sequence[Outcome | Lost]]:
        group, worker = self._running.pop(ref)
        try:
            if isinstance(worker, RayGang):
                outcome, usable = ray.get(ref)
                if not usable:
                    self._give_up(worker)
                return group, [outcome]
            return group, ray.get(ref)
        except RayError as error:  # run_attempts returns its own failures: what is raised here is the machinery's
            if isinstance(worker, RayGang):
                self._give_up(worker)
            elif worker in self._workers:  # a new one, since a restarting one would refuse what it is sent meanwhile
                self._workers[self._workers.index(worker)] = _start_gpu_worker()
            lost = Lost(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}")
            return group, [lost] * len(group)

    def close(self) -> None:
        for gang in self._gangs:
            gang.close()
        for gang in self._gangs:
            gang.join()
        ray.shutdown()


def _start_gpu_worker() -> Any:
    worker: Any = ray.remote(_GpuWorker)
    return worker.options(num_cpus=1, num_gpus=1, max_concurrency=POOL).remote()
