"""A cloud that is short of machines, for Ray's autoscaler. Imports little, because the autoscaler starts with it."""

from __future__ import annotations

from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider

from orchestrator.backends.ray.clouds.alternatives import Alternatives


class ShortCloud(FakeMultiNodeProvider):
    """Machines that are processes of this one, and none whose ``node_config`` says that they are scarce."""

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        if node_config.get("scarce"):
            raise RuntimeError("InsufficientInstanceCapacity")
        resources = {"CPU": 4, "GPU": 1}
        made: dict[str, Any] = super().create_node_with_resources_and_labels(node_config, tags, count, resources, {})
        return made


class ShortCloudWithAlternatives(Alternatives, ShortCloud):
    """The same, with ``provider.alternatives``."""

    def create_node_with_resources_and_labels(
        self, node_config: dict[str, Any], tags: dict[str, str], count: int, *_: object
    ) -> dict[str, Any]:
        return self.create_node(node_config, tags, count)
