"""Run a Ray cluster of several raylets on this machine and kill its parts, never other processes."""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
from typing import Any

# Ray gives up a node after 2 s, a lost GCS and a silent connection after a few seconds
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
    """Set the environment of all processes of a session; call this before importing Ray."""
    os.environ |= {
        "RAY_AUTH_MODE": "token",  # Ray listens on every interface
        "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "300",
        "NO_COLOR": "1",
    }


class ClusterStartError(Exception):
    """Ray did not start a node in time, as happens on a busy machine; no fault of the sweep."""


class Cluster:
    """A head and a second node, of one core each."""

    def __init__(self) -> None:
        self._cluster: Any = None
        self._node: Any = None
        self._folder = tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True)

    @property
    def address(self) -> str:
        """The address for drivers; starts the cluster if it does not run."""
        self._start()
        return str(self._cluster.address)

    def have_node(self) -> None:
        """Add the second node unless it runs."""
        self._start()
        if self._node is None:
            try:
                self._node = self._cluster.add_node(num_cpus=1, include_dashboard=False)
            except Exception as error:  # Ray raises a bare Exception for a node that times out
                self.close()
                raise ClusterStartError(str(error)) from error

    def drop_node(self) -> None:
        """Remove the second node."""
        if self._node is not None:
            self._cluster.remove_node(self._node, allow_graceful=False)
            self._node = None

    def kill_node(self) -> None:
        """Kill the second node's raylet and thereby all of the node's processes."""
        _kill(self._node, "raylet")
        self.drop_node()

    def kill_gcs(self) -> None:
        """Kill the head's GCS and thereby the cluster."""
        _kill(self._cluster.head_node, "gcs_server")

    def close(self) -> None:
        """End the cluster."""
        if self._cluster is not None:
            self._cluster.shutdown()
            self._cluster = self._node = None
            del os.environ["RAY_TMPDIR"]

    def _start(self) -> None:
        if self._cluster is None:
            from ray.cluster_utils import Cluster as Raylets  # imported late: the environment must be set first

            os.environ["RAY_TMPDIR"] = self._folder.name  # Ray writes the session's address there too
            head = {"num_cpus": 1, "include_dashboard": False, "_system_config": FAST}
            try:
                self._cluster = Raylets(initialize_head=True, head_node_args=head)
            except Exception as error:
                del os.environ["RAY_TMPDIR"]
                raise ClusterStartError(str(error)) from error


def _kill(node: Any, kind: str) -> None:
    process = node.all_processes[kind][0].process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()  # workers of a zombie raylet take it for alive
