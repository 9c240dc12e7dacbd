"""Attempts as plain Ray tasks, on this machine or a cluster. The queue, retries and priorities stay with the driver."""

from __future__ import annotations

import logging
import os
import secrets

import ray
from ray.exceptions import RayError

from orchestrator.backends.base import BackendError, Lost
from workers.attempt import Attempt, Outcome, run_attempt

OBJECT_STORE_BYTES = 200_000_000  # tasks pass paths, not tensors


# max_calls=0: GPU tasks would start a new process each; max_retries=0: retries are the driver's
@ray.remote(max_calls=0, max_retries=0)
def _run(attempt: Attempt) -> Outcome:
    return run_attempt(attempt)


class RayBackend:
    """Ray tasks of one CPU each, or of one GPU each where there are GPUs and the device allows them.

    Args:
        address: a cluster to join; None starts Ray on this machine, and never joins one that happens to run here.
        max_concurrent: at most so many attempts at a time.
        device: "cpu" keeps attempts off the GPUs.

    Raises:
        BackendError: there is no such cluster, or it has no GPU where one is asked for.
    """

    def __init__(self, address: str | None, max_concurrent: int | None, device: str) -> None:
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
        self._gpus = 1 if gpus and device != "cpu" else 0
        room = min(gpus, cpus) if self._gpus else cpus  # every stage takes a CPU, one on a GPU as well
        if room < 1:
            ray.shutdown()
            raise BackendError(f"Ray at {address or 'this machine'} has no CPU free for a stage; add a node with one")
        self.slots = min(room, max_concurrent or room)
        self._running: dict[ray.ObjectRef, Attempt] = {}

    def submit(self, attempt: Attempt) -> None:
        task = _run.options(num_cpus=1, num_gpus=self._gpus, name=attempt.job.name)
        self._running[task.remote(attempt)] = attempt

    def wait(self, timeout_s: float) -> list[tuple[Attempt, Outcome | Lost]]:
        if not self._running:
            return []
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=timeout_s)
        return [(self._running.pop(ref), _outcome(ref)) for ref in ready]

    def close(self, *, now: bool = False) -> None:
        if now:
            for ref in self._running:
                ray.cancel(ref, force=True)
        ray.shutdown()


def _outcome(ref: ray.ObjectRef) -> Outcome | Lost:
    try:
        return ray.get(ref)
    except RayError as error:  # run_attempt returns its own failures: what is raised here is the machinery's
        return Lost(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}")
