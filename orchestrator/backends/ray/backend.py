"""Attempts on Ray, on this machine or a cluster. The queue, retries and priorities stay with the driver.

On CPUs each group is a task of one core. Each GPU has one actor, whose threads share it among several groups; the actor
starts when there is work for it and ends when it is idle, so that a cluster grows and shrinks with the sweep. A gang,
too, keeps its devices from one stage to the next, until other stages need them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled; Ray Serve uses it so
from ray.exceptions import RayError

from orchestrator.backends.base import BackendError, Group, Lost
from orchestrator.backends.ray.autoscaler import AutoscalerRequest
from orchestrator.backends.ray.cluster import connect
from orchestrator.backends.ray.devices import ClusterDevices
from orchestrator.backends.ray.gang import RayGang
from orchestrator.backends.ray.gpus import Gpu, PendingGpus, first_line, own_node
from orchestrator.backends.ray.in_flight import HUNG, GroupInFlight
from workers.attempts.attempt import Attempt, Outcome, run_attempts
from workers.devices.streams import POOL
from workers.stages.kinds import width

IDLE_S = 60.0
FIRST_MACHINE_WITHIN_S = 1800.0
CLOSING_S = 10.0


# max_retries=0: retries are the driver's
@ray.remote(max_retries=0)
def _run(attempts: Sequence[Attempt]) -> list[Outcome]:
    return run_attempts(attempts, own_node())


class RayBackend:
    """Runs stages on a CPU core each, or on GPUs if the cluster has some and the device allows them.

    Args:
        address: a cluster to join; None starts Ray on this machine, and never joins one that happens to run here.
        max_concurrent: most groups at a time.
        device: "cpu" keeps attempts off the GPUs.
        scale_to: GPUs, or CPUs with device "cpu", that the autoscaler may bring, at least ``ranks``; None to use the
            devices present.
        ranks: of the largest gang.

    Raises:
        BackendError: the cluster does not answer, or neither has the devices nor an autoscaler that can bring them.
    """

    def __init__(
        self, address: str | None, max_concurrent: int | None, device: str, scale_to: int | None = None, ranks: int = 1
    ) -> None:
        if ranks > 1:
            max_concurrent = None  # counts stages, in the driver; here are devices
        self._max_concurrent, self._scale_to, self.wanted = max_concurrent, scale_to, 0
        connect(address, max_concurrent)
        self._cluster = ClusterDevices(GcsClient(address=ray.get_runtime_context().gcs_address))
        try:
            _, gpus = self._cluster.count()
            if device.startswith("cuda") and not gpus and not scale_to:
                raise BackendError(f"--device {device}: Ray has no GPU here; leave --device out to use CPUs")
            self._on_gpus = bool(gpus or scale_to) and device != "cpu"
            self._gpus: list[Gpu] = []
            self._gangs: list[RayGang] = []
            self._closing: list[RayGang] = []  # their devices are free, or soon will be
            self._in_flight: dict[Any, GroupInFlight] = {}
            self._pending: PendingGpus | None = None
            self._request: AutoscalerRequest | None = None
            if scale_to:
                self._ask_autoscaler(scale_to, ranks)
            self._check_devices(address or "this machine", ranks)
            self.device_bytes = None
            if self._on_gpus:
                self._gpus.append(Gpu.start())
                if self._pending:
                    self._pending.request(1, POOL - 1)
                # of the first GPU: packing plans for one kind
                self.device_bytes = self._gpus[0].memory_bytes(FIRST_MACHINE_WITHIN_S)
        except RayError as error:
            ray.shutdown()
            raise BackendError(f"Ray at {address or 'this machine'}: {first_line(error)}") from error
        except BaseException:  # BackendError, or Ctrl-C while a machine is waited for
            ray.shutdown()
            raise

    def _ask_autoscaler(self, scale_to: int, ranks: int) -> None:
        request = AutoscalerRequest(self._cluster.gcs, ranks, scale_to, on_gpus=self._on_gpus)
        if ranks > 1:
            request.wait(FIRST_MACHINE_WITHIN_S)
            self._request = request
            self._cluster.counted_s = 0.0  # before they came
        else:
            request.check()
            self._pending = PendingGpus(min(scale_to, self._max_concurrent or scale_to)) if self._on_gpus else None

    def _check_devices(self, where: str, ranks: int) -> None:
        if not self._scale_to and self.devices < 1:
            raise BackendError(
                f"Ray at {where} has no CPU free for a stage; add a node with one, or let the cluster's autoscaler do "
                f"it: --scale-to N"
            )
        if ranks > 1 and ranks > self.devices:
            raise BackendError(
                f"--gpus-per-stage {ranks}: Ray at {where} has {self.devices} {'GPUs' if self._on_gpus else 'CPUs'} "
                f"for stages, so that none could ever start; give at most {self.devices}, or let the cluster's "
                f"autoscaler bring more: --scale-to N"
            )

    # --- the backend's interface ---------------------------------------------------------------------------------

    @property
    def devices(self) -> int:
        """Cores, or GPUs with a core beside them, on machines that stay."""
        cores, gpus = self._cluster.count()
        devices = gpus if self._on_gpus else cores
        if self._pending:  # a group sent to a machine that never comes would wait for ever
            draining = self._cluster.draining_nodes()
            devices = sum(gpu.node not in draining for gpu in self._gpus)
        elif self._scale_to:
            devices = min(devices, self._scale_to) if self._request else self._scale_to
        return min(devices, self._max_concurrent or devices)

    def submit(self, attempts: Sequence[Attempt]) -> None:
        place: Gpu | RayGang | None = None
        ranks = width(attempts[0].job.stage)
        if ranks > 1:
            place = self._free_gang(ranks)
            ref = place.submit(attempts[0])
        elif self._on_gpus:
            place = self._least_loaded_gpu()
            ref = place.actor.run.remote(attempts)
        else:
            self._free_devices(1)
            # named by the kind, not the stage: Ray's metrics keep each name for ever, in the driver and on each machine
            ref = _run.options(num_cpus=1, name=attempts[0].job.stage.kind).remote(attempts)
        self._in_flight[ref] = GroupInFlight(tuple(attempts), place)

    def wait(self, timeout_s: float) -> list[tuple[Group, Sequence[Outcome | Lost]]]:
        self._drop_idle()
        if self._pending:
            draining = self._cluster.draining_nodes()
            self._pending.want(sum(gpu.node not in draining for gpu in self._gpus), self.wanted)
            busy = bool(self._in_flight or self._gpus)
            self._gpus += self._pending.take_started(len(self._gpus), 0.0 if busy else timeout_s)
        if self._request:
            self._request.renew(self.devices, self._held(idle=False))
        if not self._in_flight:
            return []
        ready, _ = ray.wait(list(self._in_flight), num_returns=1, timeout=timeout_s)
        return [self._outcomes(ref) for ref in ready]

    def end(self, attempt: Attempt) -> bool:
        for ref, in_flight in self._in_flight.items():
            if attempt in in_flight.group:
                in_flight.ended = True
                if isinstance(in_flight.place, RayGang):
                    in_flight.place.end()
                elif in_flight.place is not None:
                    in_flight.place.kill()
                else:
                    ray.cancel(ref, force=True)
        return True

    def draining(self) -> Collection[str]:
        draining = self._cluster.draining_nodes()
        for gpu in self._gpus:
            gpu.refresh()
        for gpu in [gpu for gpu in self._gpus if gpu.node in draining and not self._load(gpu)]:
            self._drop(gpu)
        leaving = [gang for gang in self._gangs if draining & gang.nodes]
        for gang in leaving:
            if not self._load(gang):
                self._drop(gang)
        return draining | {gang.name for gang in leaving}

    def close(self) -> None:
        for gang in self._gangs:
            gang.close()
        for gang in (*self._closing, *self._gangs):  # a gang's thread that outlived Ray would end this process
            gang.thread.join(CLOSING_S)
        ray.shutdown()

    # --- GPUs and gangs ------------------------------------------------------------------------------------------

    def _load(self, place: Gpu | RayGang) -> int:
        """Groups in flight on a GPU or gang."""
        return sum(in_flight.place is place for in_flight in self._in_flight.values())

    @property
    def _places(self) -> list[Gpu | RayGang]:
        return [*self._gpus, *self._gangs]

    def _held(self, *, idle: bool = True) -> int:
        """Devices of tasks, GPU actors and gangs; without ``idle``, of busy ones only."""
        tasks = sum(in_flight.place is None for in_flight in self._in_flight.values())
        return tasks + sum(place.ranks for place in self._places if idle or self._load(place))

    def _free_devices(self, devices: int) -> None:
        """End idle actors and gangs until this many devices are free."""
        for place in self._places:
            if self._held() + devices <= self.devices:
                return
            if not self._load(place):
                self._drop(place)

    def _free_gang(self, ranks: int) -> RayGang:
        """An idle gang of this size, or a new one, which waits for its devices."""
        draining = self._cluster.draining_nodes()
        for gang in self._gangs:
            if gang.ranks == ranks and not self._load(gang) and not draining & gang.nodes:
                return gang
        self._free_devices(ranks)
        self._gangs.append(RayGang(ranks, on_gpus=self._on_gpus))
        return self._gangs[-1]

    def _least_loaded_gpu(self) -> Gpu:
        draining = self._cluster.draining_nodes()
        for gpu in self._gpus:
            gpu.refresh()
        staying = [gpu for gpu in self._gpus if gpu.node not in draining and not gpu.spoiled]
        gang_devices = sum(gang.ranks for gang in self._gangs if self._load(gang))
        if gang_devices:  # the emptiest GPUs are left to the gangs that wait for them
            staying = sorted(staying, key=self._load, reverse=True)[: max(1, self.devices - gang_devices)]
        least_loaded = min(staying, key=self._load, default=None)
        if self._pending and least_loaded is not None:
            if self._load(least_loaded):
                self._pending.request(len(self._gpus))
        elif least_loaded is None or (self._load(least_loaded) and len(staying) < self.devices - gang_devices):
            self._free_devices(1)
            least_loaded = Gpu.start()
            self._gpus.append(least_loaded)
        return least_loaded

    def _drop_idle(self) -> None:
        now_s = time.monotonic()
        self._closing = [gang for gang in self._closing if gang.thread.is_alive()]
        for place in self._places:
            if self._load(place):
                place.idle_since_s = now_s
            elif (
                now_s - place.idle_since_s > IDLE_S
                or (self._gangs and self._held() > self.devices)
                or (isinstance(place, Gpu) and place.spoiled)
            ):
                self._drop(place)

    def _drop(self, place: Gpu | RayGang) -> None:
        if isinstance(place, RayGang):
            self._gangs.remove(place)
            self._closing.append(place)
            place.close()
        else:
            self._gpus.remove(place)
            ray.kill(place.actor)

    # --- outcomes ------------------------------------------------------------------------------------------------

    def _outcomes(self, ref: Any) -> tuple[Group, Sequence[Outcome | Lost]]:
        in_flight = self._in_flight.pop(ref)
        if isinstance(in_flight.place, RayGang):
            return in_flight.group, [self._outcome_of_gang(ref, in_flight, in_flight.place)]
        try:
            outcomes: list[Outcome] = ray.get(ref)
            if isinstance(in_flight.place, Gpu):
                in_flight.place.spoiled |= any(outcome.spoiled for outcome in outcomes)
            return in_flight.group, outcomes
        except RayError as error:  # of Ray itself: run_attempts returns its own failures
            if in_flight.place in self._gpus:
                self._gpus.remove(in_flight.place)  # another actor starts when there is work for it
            return in_flight.group, [in_flight.lost_by(error)] * len(in_flight.group)

    def _outcome_of_gang(self, ref: Any, in_flight: GroupInFlight, gang: RayGang) -> Outcome | Lost:
        try:
            outcome, usable = ray.get(ref)
        except RayError as error:  # its mailbox is gone
            outcome, usable = Lost(f"{type(error).__name__}: {first_line(error)}"), False
            gang.end()
        if not usable:
            self._gangs.remove(gang)
            self._closing.append(gang)
        if isinstance(outcome, Outcome):
            return outcome
        if in_flight.ended:
            return HUNG
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        return Lost(outcome.message, "process" if gang.nodes <= alive else "node")
