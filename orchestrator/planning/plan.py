"""The plan of a sweep: a directed acyclic graph of stages. Pure: no I/O, no clock, no Ray."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.planning.identity import stage_key
from orchestrator.store.plans import PlannedRecipe, PlannedStage, PlannedStudy, StoredPlan
from orchestrator.store.record import Labels
from workers.stages import PairProbe, Stage, serialised_fields, to_science


@dataclass(frozen=True)
class Node:
    """A stage in a plan, with the keys of its upstream stages by input name."""

    key: str
    name: str
    stage: Stage
    inputs: Mapping[str, str]
    labels: Labels

    def planned(self) -> PlannedStage:
        """The node as the store keeps it."""
        inputs = dict(self.inputs)
        return PlannedStage(key=self.key, kind=self.stage.kind, name=self.name, labels=self.labels, inputs=inputs)


@dataclass
class Plan:
    """Nodes by key; every node stands after its inputs.

    Attributes:
        borrowed: keys of nodes that another plan of the store holds; they are here because this plan's nodes read them.
        studies: what the experiments declare to ask.
        recipes: what the experiments are made with, for readers of the store.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    borrowed: set[str] = field(default_factory=set)
    studies: list[PlannedStudy] = field(default_factory=list)
    recipes: list[PlannedRecipe] = field(default_factory=list)

    def add(self, name: str, stage: Stage, labels: Labels, **inputs: Node) -> Node:
        """Add a stage, and return its node; a stage with the same key is returned as it stands."""
        keys = {slot: node.key for slot, node in inputs.items()}
        key = stage_key(stage, keys)
        if key not in self.nodes:
            self.nodes[key] = Node(key, name, stage, keys, labels)
        return self.nodes[key]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def __len__(self) -> int:
        return len(self.nodes)

    def stored(self, argv: list[str], started_unix_s: float) -> StoredPlan:
        """The plan as the store keeps it, without borrowed nodes; settings that stages share are stored once."""
        positions: dict[str, int] = {}
        of_object: dict[int, int] = {}  # positions by identity, for the settings that stages share as objects
        parts: list[dict[str, Any]] = []
        stages = []
        for node in self:
            if node.key in self.borrowed:
                continue
            science: dict[str, Any] = {}
            part_of: dict[str, int] = {}
            for each in serialised_fields(type(node.stage)) or ():
                value = getattr(node.stage, each.attribute)
                if id(value) in of_object:
                    part_of[each.name] = of_object[id(value)]
                    continue
                item = to_science(each.of(node.stage))
                if not isinstance(item, dict):
                    science[each.name] = item
                    continue
                position = positions.setdefault(json.dumps(item), len(parts))
                if position == len(parts):
                    parts.append(item)
                part_of[each.name] = of_object[id(value)] = position
            stages.append(node.planned().model_copy(update={"science": science, "parts": part_of}))
        return StoredPlan(
            argv=argv,
            started_unix_s=started_unix_s,
            stages=stages,
            parts=parts,
            studies=self.studies,
            recipes=self.recipes,
        )

    def dependents(self) -> dict[str, list[str]]:
        """Keys of the stages that read each stage, by the key of that stage."""
        dependents: dict[str, list[str]] = {key: [] for key in self.nodes}
        for node in self:
            for upstream in set(node.inputs.values()):
                dependents[upstream].append(node.key)
        return dependents

    def counts(self) -> Counter[str]:
        """Number of stages by ``describe``."""
        return Counter(describe(node) for node in self)


def describe(node: Node) -> str:
    """A node in the method's words: "pretrain", "round", "train signed", "probe lmc", …"""
    kind = node.stage.kind
    if kind == "train":
        return f"train {node.labels.transfer}" if node.labels.transfer else "begin dense"  # a point to rewind to
    if isinstance(node.stage, PairProbe):
        return f"probe {node.stage.probe}"
    return f"probe {node.labels.probe}" if kind == "probe" else kind
