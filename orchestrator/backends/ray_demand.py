"""Devices that a gang needs at once, asked of a cluster's autoscaler before there are any.

A placement group is the only way to ask for several: it is placed as a whole, and it is withdrawn by the end of its
driver, however that ends. It is given back as soon as it is placed, because the gang brings one of its own.
"""

from __future__ import annotations

import time

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled; Ray Serve uses it so
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply  # type: ignore[attr-defined]  # generated
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from orchestrator.backends.base import BackendError

LOOK_EVERY_S = 2.0
GCS_TIMEOUT_S = 10.0


class GangDemand:
    """What is asked for, one gang at a time.

    Args:
        ranks: of the largest gang.
        most: devices, with those that have come.
        on_gpus: a GPU and a CPU core for every rank, or a core alone.
    """

    def __init__(self, ranks: int, most: int, *, on_gpus: bool) -> None:
        self._ranks, self._most = ranks, most
        self._bundle = {"CPU": 1, **({"GPU": 1} if on_gpus else {})}
        self._asked: PlacementGroup | None = None

    def renew(self, there: int, busy: int) -> None:
        """Ask for another gang's devices when too few are free, and give back what has come."""
        if self._settled(0) and there - busy < self._ranks <= self._most - busy:
            self._asked = self._ask()

    def wait(self, timeout_s: float) -> None:
        """Until the first gang's devices have come.

        Raises:
            BackendError: they never will, says the autoscaler, or have not in this time.
        """
        gcs, until = GcsClient(address=ray.get_runtime_context().gcs_address), time.monotonic() + timeout_s
        self._asked = self._ask()
        while not self._settled(LOOK_EVERY_S):
            if self._hopeless(gcs):
                raise BackendError(
                    f"--gpus-per-stage {self._ranks}: the autoscaler's machine types and max_workers in the cluster's "
                    f"file do not allow for {self._ranks} times {self._words()} at once; raise them, or lower it"
                )
            if time.monotonic() > until:
                raise BackendError(
                    f"{self._ranks} times {self._words()} did not become free within {timeout_s / 60:.0f} min; "
                    f"`ray status` tells why"
                )

    def _ask(self) -> PlacementGroup:
        return placement_group([self._bundle] * self._ranks, strategy="PACK")

    def _settled(self, timeout_s: float) -> bool:
        """Give back what has come; whether nothing is asked for any more."""
        if self._asked is not None and self._asked.wait(timeout_s):
            remove_placement_group(self._asked)
            self._asked = None
        return self._asked is None

    def _hopeless(self, gcs: GcsClient) -> bool:
        assert self._asked is not None
        reply = GetClusterStatusReply()
        reply.ParseFromString(gcs.get_cluster_status(timeout_s=GCS_TIMEOUT_S))
        infeasible = reply.autoscaling_state.infeasible_gang_resource_requests
        return any(self._asked.id.hex() in request.details for request in infeasible)

    def _words(self) -> str:
        return "a GPU and a CPU" if "GPU" in self._bundle else "a CPU"
