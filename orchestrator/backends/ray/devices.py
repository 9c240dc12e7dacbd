"""Counts a cluster's devices: CPU cores, and GPUs with a core beside them."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import suppress

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled; Ray Serve uses it so
from ray.exceptions import RayError

COUNT_EVERY_S = 2.0
GCS_TIMEOUT_S = 10.0


class ClusterDevices:
    """The devices of the joined cluster on machines that stay, counted again every few seconds.

    Attributes:
        counted_s: when they were counted; 0 to count again at the next call.
    """

    def __init__(self, gcs: GcsClient) -> None:
        self.gcs = gcs
        self.counted_s, self._counts = 0.0, (0, 0)
        self._draining: set[str] = set()

    def count(self) -> tuple[int, int]:
        """Return the number of cores, and of GPUs with a core beside them."""
        if time.monotonic() - self.counted_s > COUNT_EVERY_S:
            self._counts = count_devices(self.draining_nodes())
            self.counted_s = time.monotonic()  # after the notices, which would let it expire
        return self._counts

    def draining_nodes(self) -> set[str]:
        """Ids of machines that are about to go."""
        with suppress(RayError):  # the head is busy: keep the last answer
            draining = set(self.gcs.get_draining_nodes(timeout=GCS_TIMEOUT_S))
            if draining != self._draining:
                self._draining, self.counted_s = draining, 0.0
        return self._draining


def count_devices(draining: Collection[str] = ()) -> tuple[int, int]:
    """Count the cores, and the GPUs with a core beside them, of all living nodes except the draining ones (ids)."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["NodeID"] not in draining]
    cores = sum(int(node.get("CPU", 0)) for node in nodes)
    return cores, sum(int(min(node.get("GPU", 0), node.get("CPU", 0))) for node in nodes)


def has_node_with(needs: Mapping[str, float]) -> bool:
    """Whether any node is large enough; Ray itself would wait for ever. Keys are "cpu" and "gpu"."""
    return any(
        all(node["Resources"].get(name.upper(), 0) >= amount for name, amount in needs.items())
        for node in ray.nodes()
        if node["Alive"]
    )
