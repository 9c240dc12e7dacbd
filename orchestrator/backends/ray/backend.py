"""Attempts on Ray, on this machine or a cluster. The queue, retries and priorities stay with the driver.

On CPUs each group is a task of one core. Each GPU has one actor, whose threads share it among several groups; it is
started when there is work for it and ended when there is none, so that a cluster can grow and shrink with the sweep.
A gang, too, keeps its devices from one of its stages to the next, until something else needs them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled; Ray Serve uses it so
from ray.exceptions import RayError

from orchestrator.backends.base import BackendError, Group, Lost
from orchestrator.backends.ray.autoscaler import Demand
from orchestrator.backends.ray.cluster import connect, count_devices
from orchestrator.backends.ray.errors import BESIDE_HUNG, HUNG, first_line, lost_by
from orchestrator.backends.ray.gang import RayGang
from orchestrator.backends.ray.gpus import Arrivals, Gpu, own_node
from workers.attempts.attempt import Attempt, Outcome, run_attempts
from workers.devices.streams import POOL
from workers.stages.kinds import width

RESOURCES_EVERY_S = 2.0
IDLE_S = 60.0
COMES_WITHIN_S = 1800.0  # the first machine
GCS_TIMEOUT_S = 10.0


# max_retries=0: retries are the driver's
@ray.remote(max_retries=0)
def _run(attempts: Sequence[Attempt]) -> list[Outcome]:
    return run_attempts(attempts, own_node())


@dataclass(eq=False)
class Sent:
    """A group on its way.

    Attributes:
        place: what it runs on; None for a task.
        ended: it hung, and its processes were ended.
    """

    group: Group
    place: Gpu | RayGang | None
    ended: bool = False


class RayBackend:
    """Stages on a CPU core each, or on the GPUs where there are some and the device allows them.

    Args:
        address: a cluster to join; None starts Ray on this machine, and never joins one that happens to run here.
        max_concurrent: at most so many groups at a time.
        device: "cpu" keeps attempts off the GPUs.
        scale_to: GPUs, or CPUs with device "cpu", that the autoscaler may bring, at least ``ranks``; None takes what
            is there. Being asked for makes it start machines; ``devices`` grows as they come, and shrinks as they go.
        ranks: of the largest gang that will be submitted.

    Raises:
        BackendError: there is no such cluster, or it has no GPU where one is asked for, or too few for a gang; or there
            is no autoscaler to bring them, or it cannot.
    """

    def __init__(
        self,
        address: str | None,
        max_concurrent: int | None,
        device: str,
        scale_to: int | None = None,
        ranks: int = 1,
    ) -> None:
        if ranks > 1:
            max_concurrent = None  # which counts stages, and is the driver's; here are devices
        self._max_concurrent, self._scale_to = max_concurrent, scale_to
        connect(address, max_concurrent)
        self._gcs = GcsClient(address=ray.get_runtime_context().gcs_address)
        try:
            self._looked_s, self._cpus, self._gpus_there, self._going = 0.0, 0, 0, set[str]()
            self._look()
            if device.startswith("cuda") and not self._gpus_there and not scale_to:
                raise BackendError(f"--device {device}: Ray has no GPU here; leave --device out to use CPUs")
            self._on_gpus = bool(self._gpus_there or scale_to) and device != "cpu"
            self._gpus: list[Gpu] = []
            self._gangs: list[RayGang] = []
            self._closing: list[RayGang] = []  # whose devices are free or soon will be
            self._sent: dict[Any, Sent] = {}
            self._arrivals: Arrivals | None = None
            self._demand: Demand | None = None
            if scale_to:
                demand = Demand(self._gcs, ranks, scale_to, on_gpus=self._on_gpus)
                if ranks > 1:
                    demand.wait(COMES_WITHIN_S)
                    self._demand = demand
                    self._looked_s = 0.0  # before they came
                else:
                    demand.check()
                    self._arrivals = Arrivals(min(scale_to, max_concurrent or scale_to)) if self._on_gpus else None
            if not scale_to and self.devices < 1:
                raise BackendError(
                    f"Ray at {address or 'this machine'} has no CPU free for a stage; add a node with one, or let the "
                    f"cluster's autoscaler do it: --scale-to N"
                )
            if ranks > 1 and ranks > self.devices:
                raise BackendError(
                    f"--gpus-per-stage {ranks}: Ray at {address or 'this machine'} has {self.devices} "
                    f"{'GPUs' if self._on_gpus else 'CPUs'} for stages, so that none could ever start; give at most "
                    f"{self.devices}, or let the cluster's autoscaler bring more: --scale-to N"
                )
            # the first one's: packing plans for one kind of GPU
            self.device_bytes = self._first_gpu_bytes() if self._on_gpus else None
        except BackendError:
            ray.shutdown()
            raise

    @property
    def devices(self) -> int:
        """Cores, or GPUs with a core beside them, that there are now, on machines that stay."""
        self._look()
        room = self._gpus_there if self._on_gpus else self._cpus
        if self._arrivals:  # what is sent to a machine that never comes would wait for ever
            room = sum(gpu.node not in self._going for gpu in self._gpus)
        elif self._scale_to:
            room = min(room, self._scale_to) if self._demand else self._scale_to
        return min(room, self._max_concurrent or room)

    def submit(self, attempts: Sequence[Attempt]) -> None:
        place: Gpu | RayGang | None = None
        ranks = width(attempts[0].job.stage)
        if ranks > 1:
            place = self._free_gang(ranks)
            ref = place.submit(attempts[0])
        elif self._on_gpus:
            place = self._freest_gpu()
            ref = place.actor.run.remote(attempts)
        else:
            self._make_room(1)
            # not by the stage's own name: Ray's metrics keep each name for ever, in the driver and on each machine
            ref = _run.options(num_cpus=1, name=attempts[0].job.stage.kind).remote(attempts)
        self._sent[ref] = Sent(tuple(attempts), place)

    def wait(self, timeout_s: float) -> list[tuple[Group, Sequence[Outcome | Lost]]]:
        self._drop_idle()
        if self._arrivals:
            self._gpus += self._arrivals.come(len(self._gpus), 0.0 if self._sent or self._gpus else timeout_s)
        if self._demand:
            self._demand.renew(self.devices, self._held(idle=False))
        if not self._sent:
            return []
        ready, _ = ray.wait(list(self._sent), num_returns=1, timeout=timeout_s)
        return [self._ended(ref) for ref in ready]

    def end(self, attempt: Attempt) -> bool:
        for ref, sent in self._sent.items():
            if attempt in sent.group:
                sent.ended = True
                if isinstance(sent.place, RayGang):
                    sent.place.end()
                elif sent.place is not None:
                    sent.place.kill()
                else:
                    ray.cancel(ref, force=True)
        return True

    def draining(self) -> Collection[str]:
        going = self._draining_nodes()
        for gpu in self._gpus:
            gpu.find()
        for gpu in [gpu for gpu in self._gpus if gpu.node in going and not self._load(gpu)]:
            self._drop(gpu)
        leaving = [gang for gang in self._gangs if going & gang.nodes]
        for gang in leaving:
            if not self._load(gang):
                self._drop(gang)
        return going | {gang.name for gang in leaving}

    def close(self) -> None:
        for gang in self._gangs:
            gang.close()
        for gang in (*self._closing, *self._gangs):  # a thread of theirs that outlived Ray would end this process
            gang.join()
        ray.shutdown()

    def _look(self) -> None:
        if time.monotonic() - self._looked_s > RESOURCES_EVERY_S:
            self._cpus, self._gpus_there = count_devices(self._draining_nodes())
            self._looked_s = time.monotonic()  # after the notices, which would have it look again

    def _first_gpu_bytes(self) -> int | None:
        self._gpus.append(Gpu.start())
        if self._arrivals:
            self._arrivals.ask(1, POOL - 1)
        return self._gpus[0].memory_bytes(COMES_WITHIN_S)

    def _draining_nodes(self) -> set[str]:
        with suppress(RayError):  # the head is busy: what was known last
            going = set(self._gcs.get_draining_nodes(timeout=GCS_TIMEOUT_S))
            if going != self._going:
                self._going, self._looked_s = going, 0.0  # they take no more work: what is left is counted anew
        return self._going

    def _load(self, place: Gpu | RayGang) -> int:
        return sum(sent.place is place for sent in self._sent.values())

    @property
    def _places(self) -> list[Gpu | RayGang]:
        return [*self._gpus, *self._gangs]

    def _held(self, *, idle: bool = True) -> int:
        """Devices that are somebody's, at work or also idle."""
        tasks = sum(sent.place is None for sent in self._sent.values())
        return tasks + sum(place.ranks for place in self._places if idle or self._load(place))

    def _make_room(self, devices: int) -> None:
        """End what is idle until so many devices are nobody's."""
        for place in self._places:
            if self._held() + devices <= self.devices:
                return
            if not self._load(place):
                self._drop(place)

    def _free_gang(self, ranks: int) -> RayGang:
        """An idle gang of this size, or a new one, which waits for as many devices."""
        going = self._draining_nodes()
        for gang in self._gangs:
            if gang.ranks == ranks and not self._load(gang) and not going & gang.nodes:
                return gang
        self._make_room(ranks)
        self._gangs.append(RayGang(ranks, on_gpus=self._on_gpus))
        return self._gangs[-1]

    def _freest_gpu(self) -> Gpu:
        going = self._draining_nodes()
        for gpu in self._gpus:
            gpu.find()
        staying = [gpu for gpu in self._gpus if gpu.node not in going]
        by_gangs = sum(gang.ranks for gang in self._gangs if self._load(gang))
        if by_gangs:  # the emptiest ones are a gang's, which waits for them
            staying = sorted(staying, key=self._load, reverse=True)[: max(1, self.devices - by_gangs)]
        freest = min(staying, key=self._load, default=None)
        if self._arrivals and freest is not None:
            if self._load(freest):
                self._arrivals.ask(len(self._gpus))
        elif freest is None or (self._load(freest) and len(staying) < self.devices - by_gangs):
            self._make_room(1)
            freest = Gpu.start()
            self._gpus.append(freest)
        return freest

    def _drop_idle(self) -> None:
        now = time.monotonic()
        self._closing = [gang for gang in self._closing if not gang.over]
        for place in self._places:
            if self._load(place):
                place.idle_since_s = now
            elif now - place.idle_since_s > IDLE_S or (self._gangs and self._held() > self.devices):
                self._drop(place)

    def _drop(self, place: Gpu | RayGang) -> None:
        if isinstance(place, RayGang):
            self._gangs.remove(place)
            self._closing.append(place)
            place.close()
        else:
            self._gpus.remove(place)
            ray.kill(place.actor)

    def _ended(self, ref: Any) -> tuple[Group, Sequence[Outcome | Lost]]:
        sent = self._sent.pop(ref)
        if isinstance(sent.place, RayGang):
            return sent.group, [self._ended_in_gang(ref, sent, sent.place)]
        try:
            return sent.group, ray.get(ref)
        except RayError as error:  # run_attempts returns its own failures: what is raised here is the machinery's
            if sent.place in self._gpus:
                self._gpus.remove(sent.place)  # another starts when there is work for it
            return sent.group, [_lost(error, sent)] * len(sent.group)

    def _ended_in_gang(self, ref: Any, sent: Sent, gang: RayGang) -> Outcome | Lost:
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
        if sent.ended:
            return HUNG
        there = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        return Lost(outcome.message, "process" if gang.nodes <= there else "node")


def _lost(error: RayError, sent: Sent) -> Lost:
    if sent.ended:
        return HUNG
    if isinstance(sent.place, Gpu) and sent.place.killed:
        return BESIDE_HUNG
    return lost_by(error)
