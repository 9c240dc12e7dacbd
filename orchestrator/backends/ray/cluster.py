"""Joining a Ray cluster, or starting a private one on this machine."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import socket
import sys
from collections.abc import Collection, Mapping

import ray
from ray._private.services import canonicalize_bootstrap_address
from ray.exceptions import RayError

from orchestrator.backends.base import BackendError

OBJECT_STORE_BYTES = 200_000_000  # tasks pass paths, not tensors
ANSWERS_WITHIN_S = 5.0
# a task on a machine that has fallen silent is given up after these, and not after Ray's seven minutes
SILENCE = {"RAY_grpc_client_keepalive_time_ms": "65000", "RAY_grpc_client_keepalive_timeout_ms": "20000"}
EMPTY_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # a frame of HTTP/2, with which both sides begin


def connect(address: str | None, cpus: int | None) -> None:
    """Join a cluster, or start Ray on this machine, never joining one that happens to run here.

    Args:
        address: of the cluster; None for a private Ray, which listens on every interface and answers to its token only.
        cpus: of a private Ray; None for as many as this machine or container has.

    Raises:
        BackendError: there is no such cluster, or it refuses.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    for name, value in {"RAY_DEDUP_LOGS": "1", **SILENCE}.items():
        os.environ.setdefault(name, value)
    try:
        if address is None:
            # Ray runs what it is sent
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            # Ray writes some workers' commands as text, and a folder's name may have a space
            quoted = shlex.quote(sys.executable)
            ray.init(
                address="local",
                num_cpus=cpus,
                runtime_env={"py_executable": quoted} if quoted != sys.executable else None,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        else:
            _check_head(address)
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (RayError, ConnectionError, ValueError, RuntimeError) as error:
        hint = "; a cluster with a token needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" if address else ""
        raise BackendError(f"Ray at {address or 'this machine'}: {error}{hint}") from error


def _check_head(address: str) -> None:
    """BackendError unless something like a Ray head answers; Ray itself would try for minutes."""
    place = (
        None if "://" in address else canonicalize_bootstrap_address(address)
    )  # "auto", or not 127.0.0.1 but our own
    if place is None:
        return
    host, _, port = place.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWERS_WITHIN_S) as connection:
            connection.settimeout(ANSWERS_WITHIN_S)
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return  # what is said then is none of our business
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + EMPTY_SETTINGS)
            answer = connection.recv(len(EMPTY_SETTINGS), socket.MSG_WAITALL)
    except OSError as error:
        raise BackendError(
            f"Ray at {address}: no head answers at {place} ({error}); give the address that `ray start --head` printed"
        ) from error
    if answer[3:4] != EMPTY_SETTINGS[3:4]:
        raise BackendError(
            f"Ray at {address}: what answers at {place} is no Ray head; give the address that `ray start` printed"
        )


def disconnect() -> None:
    """Leave the cluster; a private one ends."""
    ray.shutdown()


def count_devices(going: Collection[str] = ()) -> tuple[int, int]:
    """Cores of all nodes but those that are going, by id, and GPUs that have a core beside them."""
    there = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["NodeID"] not in going]
    cores = sum(int(node.get("CPU", 0)) for node in there)
    return cores, sum(int(min(node.get("GPU", 0), node.get("CPU", 0))) for node in there)


def devices_of(address: str, device: str) -> int:
    """How many stages of a device each a cluster runs at a time; it is asked, and left again.

    Raises:
        BackendError: there is no such cluster, or it refuses.
    """
    connect(address, None)
    try:
        cores, gpus = count_devices()
    finally:
        disconnect()
    return gpus or cores if device != "cpu" else cores


def has_node_with(needs: Mapping[str, float]) -> bool:
    """Whether any node is large enough; Ray itself would wait for ever. Keys are "cpu" and "gpu"."""
    return any(
        all(node["Resources"].get(name.upper(), 0) >= amount for name, amount in needs.items())
        for node in ray.nodes()
        if node["Alive"]
    )
