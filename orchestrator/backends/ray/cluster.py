"""Joins a Ray cluster, or starts a private one on this machine."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import socket
import sys
from contextlib import suppress
from pathlib import Path

import ray
from ray._private.services import canonicalize_bootstrap_address

from orchestrator.backends.base import BackendError
from orchestrator.backends.ray.devices import count_devices
from orchestrator.backends.ray.session_folder import VARIABLE, session_parent
from winning_sign import PACKAGES, hidden
from workers.devices.cores import usable_cores

OBJECT_STORE_BYTES = 200_000_000  # tasks pass paths, not tensors
ANSWERS_WITHIN_S = 5.0
NICENESS = "0"  # at Ray's 15, stages beside busy programs had a thirtieth of a core, and were taken for hung
# seconds until a task on a silent machine is given up, instead of Ray's seven minutes
SILENCE = {"RAY_grpc_client_keepalive_time_ms": "65000", "RAY_grpc_client_keepalive_timeout_ms": "20000"}
EMPTY_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # the HTTP/2 frame with which both sides begin


def connect(address: str | None, cpus: int | None) -> None:
    """Join a cluster, or raise BackendError if it does not answer or refuses.

    Args:
        address: of the cluster; None starts a private Ray, which listens on every interface but answers its token only.
        cpus: of a private Ray; None for all that this process may use.
    """
    for name in PACKAGES:
        if sentence := hidden(name, first=Path.cwd()):
            raise BackendError(f"Ray's workers search the current folder first: {sentence}")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    for name, value in {"RAY_DEDUP_LOGS": "1", "RAY_worker_niceness": NICENESS, **SILENCE}.items():
        os.environ.setdefault(name, value)
    if address is None:
        os.environ[VARIABLE] = session_parent()
    try:
        if address is None:
            # Ray runs any code that it is sent
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            # Ray writes some workers' commands as text, and a folder's name may have a space
            quoted = shlex.quote(sys.executable)
            ray.init(
                address="local",
                num_cpus=min(cpus or usable_cores(), usable_cores()),
                runtime_env={"py_executable": quoted} if quoted != sys.executable else None,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        else:
            _check_head(address)
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except BackendError:
        raise
    except Exception as error:  # Ray raises many kinds, a bare Exception after a time-out among them
        with suppress(Exception):
            ray.shutdown()  # processes that did start
        raise BackendError(f"Ray at {address or 'this machine'}: {_reason(error)}{_remedy(address)}") from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _remedy(address: str | None) -> str:
    if address is not None:
        return "; a cluster with a token needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
    logs = Path(os.environ[VARIABLE]) / "ray" / "session_latest" / "logs"
    where = f"its logs are in {logs.resolve()}; " if logs.is_dir() else ""
    return f"; {where}repeat the command, or run without Ray: --backend inline"


def disconnect() -> None:
    """Leave the cluster; a private one ends."""
    ray.shutdown()


def devices_of(address: str, device: str) -> int:
    """Join a cluster, count how many one-device stages it runs at a time, and leave; raise as ``connect`` does."""
    connect(address, None)
    try:
        cores, gpus = count_devices()
    finally:
        disconnect()
    return gpus or cores if device != "cpu" else cores


def _check_head(address: str) -> None:
    """Check that a Ray head seems to answer, because Ray itself would try for minutes."""
    # None for "auto"; this machine's own address instead of 127.0.0.1
    endpoint = None if "://" in address else canonicalize_bootstrap_address(address)
    if endpoint is None:
        return
    host, _, port = endpoint.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWERS_WITHIN_S) as connection:
            connection.settimeout(ANSWERS_WITHIN_S)
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return  # an encrypted greeting cannot be judged
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + EMPTY_SETTINGS)
            answer = connection.recv(len(EMPTY_SETTINGS), socket.MSG_WAITALL)
    except OSError as error:
        raise BackendError(
            f"Ray at {address}: no head answers at {endpoint} ({error}); give the address that `ray start --head` "
            f"printed"
        ) from error
    if answer[3:4] != EMPTY_SETTINGS[3:4]:
        raise BackendError(
            f"Ray at {address}: the server at {endpoint} is no Ray head; give the address that `ray start` printed"
        )
