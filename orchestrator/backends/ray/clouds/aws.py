"""Machines of Amazon's EC2: the provider that cluster.yaml names. Needs boto3."""

from __future__ import annotations

from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

from orchestrator.backends.ray.clouds.alternatives import Alternatives


class AwsProvider(Alternatives, AWSNodeProvider):
    """Ray's provider for EC2, which already tries each zone, with other instance types."""
