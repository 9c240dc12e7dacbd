"""Joining a Ray cluster, or starting a private one on this machine."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Mapping

import ray
from ray.exceptions import RayError

from orchestrator.backends.base import BackendError

OBJECT_STORE_BYTES = 200_000_000  # tasks pass paths, not tensors


def connect(address: str | None, cpus: int | None) -> None:
    """Join a cluster, or start Ray on this machine, never joining one that happens to run here.

    Args:
        address: of the cluster; None for a private Ray, which listens on every interface and answers to its token only.
        cpus: of a private Ray; None for as many as this machine or container has.

    Raises:
        BackendError: there is no such cluster, or it refuses.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_DEDUP_LOGS", "1")
    try:
        if address is None:
            # Ray runs what it is sent
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        else:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (RayError, ConnectionError, ValueError, RuntimeError) as error:
        hint = "; a cluster with a token needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" if address else ""
        raise BackendError(f"Ray at {address or 'this machine'}: {error}{hint}") from error


def disconnect() -> None:
    """Leave the cluster; a private one ends."""
    ray.shutdown()


def has_node_with(needs: Mapping[str, float]) -> bool:
    """Whether any node is large enough; Ray itself would wait for ever. Keys are "cpu" and "gpu"."""
    return any(
        all(node["Resources"].get(name.upper(), 0) >= amount for name, amount in needs.items())
        for node in ray.nodes()
        if node["Alive"]
    )
