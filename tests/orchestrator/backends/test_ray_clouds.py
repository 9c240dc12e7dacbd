"""Machines of another type are started when the cloud has none of the first."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from ray.autoscaler.node_provider import NodeProvider

from orchestrator.backends.ray.clouds.alternatives import Alternatives

FIRST = {"type": "small", "disk": {"gb": 1}}


class Cloud(NodeProvider):
    """A cloud with a stock of machines by type; it changes what it is given, as Ray's providers do."""

    def __init__(self, provider_config: dict[str, Any], stock: dict[str, int]) -> None:
        super().__init__(provider_config, "a-cluster")
        self.stock = Counter(stock)
        self.started: list[dict[str, Any]] = []

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        kind, tags["Name"] = node_config["type"], tags.pop("ray-node-name")
        node_config["disk"].clear()
        if self.stock[kind] < count:
            raise Exception({"errors": [{"code": "ZONE_RESOURCE_POOL_EXHAUSTED", "type": kind}]})
        self.stock[kind] -= count
        self.started.append(node_config)
        return {f"{kind}-{self.stock[kind]}": node_config}


class CloudWithAlternatives(Alternatives, Cloud):
    pass


def create(count: int = 1, of: str = "gpu", **stock: int) -> tuple[list[str], CloudWithAlternatives]:
    """The ids of the machines that were started, and the cloud."""
    cloud = CloudWithAlternatives({"alternatives": {"gpu": [{"type": "large"}, {"type": "old", "card": 1}]}}, stock)
    tags = {"ray-user-node-type": of, "ray-node-name": "a-node"}
    made = cloud.create_node_with_resources_and_labels(FIRST, tags, count, {}, {})
    assert tags["ray-node-name"] == "a-node"
    assert FIRST == {"type": "small", "disk": {"gb": 1}}
    return list(made or {}), cloud


def test_the_first_type_is_taken_while_there_is_one() -> None:
    assert create(2, small=3, large=3)[0] == ["small-2", "small-1"]


def test_each_machine_is_of_the_first_type_that_the_cloud_has() -> None:
    ids, cloud = create(4, small=1, large=2, old=1)
    assert ids == ["small-0", "large-1", "large-0", "old-0"]
    assert cloud.started[-1] == {"type": "old", "card": 1, "disk": {}}  # the change replaces fields, others stay


def test_without_any_the_last_types_error_is_raised() -> None:
    with pytest.raises(Exception, match="'old'"):
        create()


def test_a_node_type_without_alternatives_has_its_first_type_only() -> None:
    with pytest.raises(Exception, match="'small'"):
        create(of="head", large=1)
