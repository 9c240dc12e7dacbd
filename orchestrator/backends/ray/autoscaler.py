"""Devices that are asked of a cluster's autoscaler before there are any, and what it answers.

A placement group is the only way to ask for several: it is placed as a whole, and it is withdrawn by the end of its
driver, however that ends. It is given back as soon as it is placed, because the gang brings one of its own.
"""

from __future__ import annotations

import time

from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled; Ray Serve uses it so
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply  # type: ignore[attr-defined]  # generated
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from orchestrator.backends.base import BackendError
from orchestrator.backends.ray.cluster import count_devices

LOOK_EVERY_S = 2.0
GCS_TIMEOUT_S = 10.0
ANSWERS_WITHIN_S = 30.0  # an autoscaler looks every five seconds; one may start a little after its head


class Demand:
    """What is asked for, one gang at a time; a stage of one device is a gang of one.

    Args:
        gcs: of the cluster that this process has joined.
        ranks: of the largest gang.
        most: devices, with those that have come.
        on_gpus: a GPU and a CPU core for every rank, or a core alone.
    """

    def __init__(self, gcs: GcsClient, ranks: int, most: int, *, on_gpus: bool) -> None:
        self._gcs, self._ranks, self._most, self._on_gpus = gcs, ranks, most, on_gpus
        self._asked: PlacementGroup | None = None

    def renew(self, there: int, busy: int) -> None:
        """Ask for another gang's devices when too few are free, and give back what has come."""
        if self._settled(0) and there - busy < self._ranks <= self._most - busy:
            self._asked = self._ask()

    def check(self) -> None:
        """Ask for the first gang's devices, hear what the autoscaler says, and withdraw: a few seconds.

        Raises:
            BackendError: there is no autoscaler, or it says that they will never come.
        """
        self._begin()
        self._withdraw()

    def wait(self, timeout_s: float) -> None:
        """Until the first gang's devices have come.

        Raises:
            BackendError: there is no autoscaler, or they never will, as it says, or have not in this time.
        """
        until = time.monotonic() + timeout_s
        self._begin()
        while not self._settled(LOOK_EVERY_S):
            self._refuse_what_never_comes(self._look())
            if time.monotonic() > until:
                raise BackendError(
                    f"{self._ranks} times {self._words()} did not become free within {timeout_s / 60:.0f} min; "
                    f"`ray status` tells why"
                )

    def _begin(self) -> None:
        """Ask, and wait until the autoscaler has seen it: only then does its silence mean that they will come."""
        self._asked = self._ask()
        asked = self._look().cluster_resource_state.cluster_resource_state_version
        until = time.monotonic() + ANSWERS_WITHIN_S
        while (said := self._look()).autoscaling_state.last_seen_cluster_resource_state_version <= asked:
            if time.monotonic() > until:
                raise BackendError(
                    f"--scale-to {self._most}: no autoscaler (Ray's v2) answers in this cluster; leave it out to work "
                    f"on what is there, or start the cluster with one: docs/clusters.md"
                )
            time.sleep(LOOK_EVERY_S / 2)
        if not self._settled(0):
            self._refuse_what_never_comes(said)

    def _ask(self) -> PlacementGroup:
        bundle = {"CPU": 1, "GPU": 1} if self._on_gpus else {"CPU": 1}
        return placement_group([bundle] * self._ranks, strategy="PACK")

    def _settled(self, timeout_s: float) -> bool:
        """Give back what has come; whether nothing is asked for any more."""
        if self._asked is not None and self._asked.wait(timeout_s):
            self._withdraw()
        return self._asked is None

    def _withdraw(self) -> None:
        if self._asked is not None:
            remove_placement_group(self._asked)
            self._asked = None

    def _look(self) -> GetClusterStatusReply:
        reply = GetClusterStatusReply()
        reply.ParseFromString(self._gcs.get_cluster_status(timeout_s=GCS_TIMEOUT_S))
        return reply

    def _refuse_what_never_comes(self, said: GetClusterStatusReply) -> None:
        """Raise BackendError if the autoscaler cannot bring it, and what is there is too little, were it free."""
        assert self._asked is not None
        infeasible = said.autoscaling_state.infeasible_gang_resource_requests
        if not any(self._asked.id.hex() in request.details for request in infeasible):
            return
        cores, gpus = count_devices()
        if self._ranks <= (gpus if self._on_gpus else cores):
            return
        if self._ranks == 1:
            remedy = "add one, or give --device cpu" if self._on_gpus else "add one"
            raise BackendError(
                f"--scale-to {self._most}: the autoscaler's machine types and max_workers in the cluster's file allow "
                f"for no machine with {self._words()}; {remedy}"
            )
        raise BackendError(
            f"--gpus-per-stage {self._ranks}: the autoscaler's machine types and max_workers in the cluster's file do "
            f"not allow for {self._ranks} times {self._words()} at once; raise them, or lower it"
        )

    def _words(self) -> str:
        return "a GPU and a CPU" if self._on_gpus else "a CPU"
