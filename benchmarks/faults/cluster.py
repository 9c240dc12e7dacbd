"""A Ray cluster of several raylets on this machine, whose parts can be killed. Only its own processes are."""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
from typing import Any

# a node is given up after two seconds, a driver whose GCS is gone after a few, and a silent connection too
FAST = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 4,
    "gcs_rpc_server_reconnect_timeout_s": 5,
    "grpc_client_keepalive_time_ms": 2000,
    "grpc_client_keepalive_timeout_ms": 2000,
}


def set_environment() -> None:
    """What every process of a session needs; to be called before Ray is imported, here or in a sweep."""
    os.environ |= {
        "RAY_AUTH_MODE": "token",  # Ray listens on every interface
        "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "300",
        "NO_COLOR": "1",
    }


class Cluster:
    """A head and a node of one core each."""

    def __init__(self) -> None:
        self._cluster: Any = None
        self._node: Any = None
        self._folder = tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True)

    @property
    def address(self) -> str:
        """Where drivers join; the cluster is started, or started anew, if it is not there."""
        self._start()
        return str(self._cluster.address)

    def have_node(self) -> None:
        """Add the second node unless it is there."""
        self._start()
        if self._node is None:
            self._node = self._cluster.add_node(num_cpus=1, include_dashboard=False)

    def drop_node(self) -> None:
        """Have the head alone."""
        if self._node is not None:
            self._cluster.remove_node(self._node, allow_graceful=False)
            self._node = None

    def kill_node(self) -> None:
        """Kill the second node's raylet, with which everything there dies."""
        _kill(self._node, "raylet")
        self.drop_node()

    def kill_gcs(self) -> None:
        """Kill the head's GCS, with which the cluster is lost."""
        _kill(self._cluster.head_node, "gcs_server")

    def close(self) -> None:
        """End it."""
        if self._cluster is not None:
            self._cluster.shutdown()
            self._cluster = self._node = None
            del os.environ["RAY_TMPDIR"]

    def _start(self) -> None:
        if self._cluster is None:
            from ray.cluster_utils import Cluster as Raylets  # here: after the environment is set, and only if needed

            os.environ["RAY_TMPDIR"] = self._folder.name  # where a session's address is written, too
            self._cluster = Raylets(
                initialize_head=True,
                head_node_args={
                    "num_cpus": 1,
                    "include_dashboard": False,
                    "_system_config": FAST,
                },
            )


def _kill(node: Any, kind: str) -> None:
    process = node.all_processes[kind][0].process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()  # while a raylet is a zombie, its workers take it for alive
