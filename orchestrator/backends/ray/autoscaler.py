"""Requests devices from a cluster's autoscaler, and reads its answer.

Only a placement group requests several devices at once: Ray places it as a whole, and withdraws it when its driver
ends, however that ends. It is given back as soon as it is placed, because a gang brings a placement group of its own.
"""

from __future__ import annotations

import time

from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled; Ray Serve uses it so
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply  # type: ignore[attr-defined]  # generated
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from orchestrator.backends.base import BackendError
from orchestrator.backends.ray.devices import GCS_TIMEOUT_S, count_devices

POLL_S = 2.0
ANSWERS_WITHIN_S = 30.0  # an autoscaler polls every five seconds; it may start a little after its head


class AutoscalerRequest:
    """A standing request for the devices of one gang; a stage of one device is a gang of one.

    Args:
        ranks: of the largest gang.
        most: devices, those that have come included.
        on_gpus: whether each rank needs a GPU and a CPU core, or a core alone.
    """

    def __init__(self, gcs: GcsClient, ranks: int, most: int, *, on_gpus: bool) -> None:
        self._gcs, self._ranks, self._most, self._on_gpus = gcs, ranks, most, on_gpus
        self._group: PlacementGroup | None = None

    def renew(self, present: int, busy: int) -> None:
        """Request another gang's devices if too few are free, and give back a request that was placed."""
        if self._settled(0) and present - busy < self._ranks <= self._most - busy:
            self._group = self._request()

    def check(self) -> None:
        """Request the first gang's devices, read the autoscaler's answer, and withdraw.

        Raises:
            BackendError: no autoscaler answers, or the request is infeasible.
        """
        self._begin()
        self._withdraw()

    def wait(self, timeout_s: float) -> None:
        """Wait until the first gang's devices have come; raise BackendError as ``check`` does, or after the timeout."""
        until_s = time.monotonic() + timeout_s
        self._begin()
        while not self._settled(POLL_S):
            self._refuse_infeasible(self._status())
            if time.monotonic() > until_s:
                raise BackendError(
                    f"{self._ranks} times {self._device_words()} did not become free within {timeout_s / 60:.0f} min; "
                    f"`ray status` tells why"
                )

    def _begin(self) -> None:
        """Request, and wait until the autoscaler has read the request: from then on no answer means feasible."""
        self._group = self._request()
        version = self._status().cluster_resource_state.cluster_resource_state_version
        until_s = time.monotonic() + ANSWERS_WITHIN_S
        while (status := self._status()).autoscaling_state.last_seen_cluster_resource_state_version <= version:
            if time.monotonic() > until_s:
                raise BackendError(
                    f"--scale-to {self._most}: no autoscaler (Ray's v2) answers in this cluster; leave it out to use "
                    f"the machines that run now, or start the cluster with an autoscaler: docs/clusters.md"
                )
            time.sleep(POLL_S / 2)
        if not self._settled(0):
            self._refuse_infeasible(status)

    def _request(self) -> PlacementGroup:
        bundle = {"CPU": 1, "GPU": 1} if self._on_gpus else {"CPU": 1}
        return placement_group([bundle] * self._ranks, strategy="PACK")

    def _settled(self, timeout_s: float) -> bool:
        """Give back a placed request; whether no request is pending any more."""
        if self._group is not None and self._group.wait(timeout_s):
            self._withdraw()
        return self._group is None

    def _withdraw(self) -> None:
        if self._group is not None:
            remove_placement_group(self._group)
            self._group = None

    def _status(self) -> GetClusterStatusReply:
        reply = GetClusterStatusReply()
        reply.ParseFromString(self._gcs.get_cluster_status(timeout_s=GCS_TIMEOUT_S))
        return reply

    def _refuse_infeasible(self, status: GetClusterStatusReply) -> None:
        """Refuse a request that is infeasible for the autoscaler and too large for the cluster even when idle."""
        assert self._group is not None
        infeasible = status.autoscaling_state.infeasible_gang_resource_requests
        if not any(self._group.id.hex() in request.details for request in infeasible):
            return
        cores, gpus = count_devices()
        if self._ranks <= (gpus if self._on_gpus else cores):
            return
        if self._ranks == 1:
            remedy = "add one, or give --device cpu" if self._on_gpus else "add one"
            raise BackendError(
                f"--scale-to {self._most}: the autoscaler's machine types and max_workers in the cluster's file allow "
                f"for no machine with {self._device_words()}; {remedy}"
            )
        raise BackendError(
            f"--gpus-per-stage {self._ranks}: the autoscaler's machine types and max_workers in the cluster's file do "
            f"not allow for {self._ranks} times {self._device_words()} at once; raise them, or lower it"
        )

    def _device_words(self) -> str:
        return "a GPU and a CPU" if self._on_gpus else "a CPU"
