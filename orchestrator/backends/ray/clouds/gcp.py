"""Machines of Google's Compute Engine: the provider that gcp.yaml names. Needs google-api-python-client."""

from __future__ import annotations

from ray.autoscaler._private.gcp.node_provider import GCPNodeProvider

from orchestrator.backends.ray.clouds.alternatives import Alternatives


class GcpProvider(Alternatives, GCPNodeProvider):
    """Ray's provider for Compute Engine, with other machine types."""
