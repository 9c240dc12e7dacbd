"""Starts machines of another type when the cloud has none left of the first.

Ray's autoscaler (v2, Ray 2.60) chooses among node types by their resources only: after a failed launch it requests the
same type again, without end. So a cluster file describes one node type, and lists what else may stand in for it.
"""

from __future__ import annotations

import copy
import logging
from typing import Any

from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE

logger = logging.getLogger(__name__)


class Alternatives:
    """Mixed in before a provider of Ray. ``provider.alternatives`` of the cluster file lists changes by node type.

    Each change is a mapping that replaces fields of the node type's ``node_config``. A machine of every alternative has
    at least the CPUs and GPUs that the node type's ``resources`` state.
    """

    provider_config: dict[str, Any]

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """Start `count` machines, each of the first type that the cloud has; return what Ray's provider does, by id.

        Raises:
            Exception: Ray's provider failed with the last alternative, too; the machines started before keep running.
        """
        changes = self.provider_config.get("alternatives", {}).get(tags.get(TAG_RAY_USER_NODE_TYPE), [])
        configs = [node_config, *({**node_config, **change} for change in changes)]
        created: dict[str, Any] = {}
        for _ in range(count):  # one by one, since a cloud may have fewer of a type than wanted
            created |= self._create_first_available(configs, tags)
        return created

    def _create_first_available(self, configs: list[dict[str, Any]], tags: dict[str, str]) -> dict[str, Any]:
        *preferred, last = configs
        for config in preferred:
            try:
                return self._create_one(config, tags)
            except Exception as error:  # Google's provider raises no narrower one
                logger.warning("No machine of this type, so the next one is tried: %s", error)
        return self._create_one(last, tags)

    def _create_one(self, config: dict[str, Any], tags: dict[str, str]) -> dict[str, Any]:
        created: dict[str, Any] = super().create_node(copy.deepcopy(config), dict(tags), 1)  # type: ignore[misc]
        return created
