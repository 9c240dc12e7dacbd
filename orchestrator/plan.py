"""The plan: the directed acyclic graph of stages that a sweep expands to. Pure: no I/O, no clock, no Ray."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.identity import stage_key
from orchestrator.recipes import Recipe
from orchestrator.record import Labels, PlannedStage, StoredPlan
from tickets import TRANSFERS
from workers.seeds import derive
from workers.stages import (
    UNIFORM,
    Data,
    Gang,
    Method,
    Model,
    Pretrain,
    Probe,
    Round,
    Schedule,
    Setting,
    Stage,
    Train,
    Training,
)


@dataclass(frozen=True)
class Network:
    """What the method sees of an architecture: how much of it may be pruned, and which layer is its classifier."""

    parameters: int
    prunable_weights: int
    prunable_layers: int
    classifier: str


@dataclass(frozen=True)
class Experiment:
    """A recipe with what is only known where the data and the architectures are."""

    recipe: Recipe
    data_fingerprint: str
    model_version: int = 1
    network: Network | None = None


@dataclass(frozen=True)
class Node:
    """A stage in a plan. ``inputs`` holds the keys of the upstream stages by input name."""

    key: str
    name: str
    stage: Stage
    inputs: Mapping[str, str]
    labels: Labels

    def planned(self) -> PlannedStage:
        """The node as the store keeps it."""
        return PlannedStage(
            key=self.key, kind=self.stage.kind, name=self.name, labels=self.labels, inputs=dict(self.inputs)
        )


@dataclass
class Plan:
    """Nodes by key; every node stands after its inputs."""

    nodes: dict[str, Node] = field(default_factory=dict)

    def add(self, name: str, stage: Stage, labels: Labels, **inputs: Node) -> Node:
        """Add a stage, or find the one with the same key."""
        keys = {slot: node.key for slot, node in inputs.items()}
        key = stage_key(stage, keys)
        if key not in self.nodes:
            self.nodes[key] = Node(key, name, stage, keys, labels)
        return self.nodes[key]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def __len__(self) -> int:
        return len(self.nodes)

    def stored(self, argv: list[str], started_unix_s: float, only: Node | None = None) -> StoredPlan:
        """The plan as the store keeps it, with every stage's science; settings that stages share are there once.

        Args:
            only: what was asked for beside a sweep; the other stages are there because it reads them.
        """
        positions: dict[str, int] = {}
        parts: list[dict[str, Any]] = []
        stages = []
        for node in self if only is None else [only]:
            science = asdict(node.stage)
            shared = {name: science.pop(name) for name, value in list(science.items()) if isinstance(value, dict)}
            for part in shared.values():
                if positions.setdefault(json.dumps(part), len(parts)) == len(parts):
                    parts.append(part)
            found = {name: positions[json.dumps(part)] for name, part in shared.items()}
            stages.append(node.planned().model_copy(update={"science": science, "parts": found}))
        return StoredPlan(
            argv=argv, started_unix_s=started_unix_s, stages=stages, parts=parts, on_request=only is not None
        )

    def dependents(self) -> dict[str, list[str]]:
        """Keys of the stages that read each stage, by its key."""
        found: dict[str, list[str]] = {key: [] for key in self.nodes}
        for node in self:
            for upstream in set(node.inputs.values()):
                found[upstream].append(node.key)
        return found

    def counts(self) -> Counter[str]:
        """Number of stages by what they are in the method's words."""
        return Counter(describe(node) for node in self)


def describe(node: Node) -> str:
    """What a node is, in the method's words: "pretrain", "round", "train signed", "probe lmc", …"""
    kind = node.stage.kind
    if kind == "train":
        return f"train {node.labels.transfer}"
    return f"probe {node.labels.probe}" if kind == "probe" else kind


def expand(experiments: Iterable[Experiment]) -> Plan:
    """All stages of some experiments.

    For every method and chain: pretraining, then its rounds. From the tickets of the transfer rounds, for every seed:
    the retrain and each transfer. In probe rounds: a twin for stability, and the probes. Dense trainings per seed.
    """
    plan = Plan()
    for experiment in experiments:
        _Expansion(plan, experiment).add_all()
    return plan


class _Expansion:
    """One experiment's stages, added to a plan."""

    def __init__(self, plan: Plan, experiment: Experiment) -> None:
        recipe = experiment.recipe
        self._plan, self._recipe = plan, recipe
        self._setting = Setting(
            recipe.preset,
            Data(
                recipe.dataset,
                experiment.data_fingerprint,
                recipe.validation_fraction,
                recipe.image_size,
                recipe.pixel_mean,
                recipe.pixel_std,
            ),
            Model(recipe.arch, recipe.model, experiment.model_version),
            recipe.watch_test_set,
            recipe.precision,
        )
        self._labels = Labels(dataset=recipe.dataset, architecture=recipe.arch, preset=recipe.preset)
        self._prefix = f"{recipe.dataset}/{recipe.arch}"
        self._final = self._training(recipe.final_epochs, recipe.final_schedule)

    def add_all(self) -> None:
        for seed in self._seeds():
            self._final_training(f"{self._prefix}/dense/seed{seed}", self._labels, "dense", seed, None)
        for chain in range(1, self._recipe.chains + 1):
            for method in self._recipe.methods:
                self._chain(method, chain)

    def _seeds(self) -> range:
        return range(1, self._recipe.seeds + 1)

    def _chain(self, method: Method, chain: int) -> None:
        recipe = self._recipe
        labels = self._labels.model_copy(update={"method": method, "chain": chain})
        prefix = f"{self._prefix}/{method}/chain{chain}"
        needed = sorted({*recipe.transfer_rounds, *recipe.probe_rounds})
        alpha = recipe.alpha if method == "aws" else UNIFORM  # LRR draws none, so its keys must not know of it
        for round_ in range(recipe.rounds + 1):
            here = labels.model_copy(update={"round": round_})
            name = f"{prefix}/round{round_:02d}"
            # paired: the chains of both methods share their initialisation and their draws
            sgd_seed = derive("sgd", "chain", chain, "round", round_)
            if round_ == 0:
                training = self._pruning_training(recipe.pretrain_epochs)
                init_seed = derive("init", "chain", chain)
                pretrain = Pretrain(self._setting, training, method, init_seed, sgd_seed, alpha)
                ticket = self._plan.add(name, pretrain, here)
            else:
                training = self._pruning_training(recipe.round_epochs)
                stage = Round(self._setting, training, method, round_, recipe.prune_fraction, sgd_seed, alpha)
                ticket = self._plan.add(name, stage, here, previous=ticket)
            if round_ in needed:
                self._uses(name, here, ticket, probed=round_ in recipe.probe_rounds)

    def _uses(self, prefix: str, labels: Labels, ticket: Node, *, probed: bool) -> None:
        """Everything that starts from one ticket."""
        earlier: Node | None = None
        for seed in self._seeds():
            retrain = self._final_training(f"{prefix}/retrain/seed{seed}", labels, "retrain", seed, ticket)
            # two retrains differ in their SGD seed only, so neighbours are a stability pair
            if probed and earlier is not None:
                self._probe(f"{prefix}/retrain/stability/seed{seed}", retrain, earlier, "stability")
            earlier = retrain
            for transfer in self._recipe.transfers:
                name = f"{prefix}/{transfer}/seed{seed}"
                solution = self._final_training(name, labels, transfer, seed, ticket)
                if not probed:
                    continue
                self._probe(f"{prefix}/{transfer}/lmc/seed{seed}", solution, retrain, "lmc")
                if transfer in self._recipe.twins:
                    twin = self._final_training(f"{name}/twin", labels, transfer, seed, ticket, twin=True)
                    self._probe(f"{prefix}/{transfer}/stability/seed{seed}", solution, twin, "stability")

    def _final_training(
        self, name: str, labels: Labels, transfer: str, seed: int, ticket: Node | None, *, twin: bool = False
    ) -> Node:
        stage = Train(
            self._setting,
            self._final,
            TRANSFERS[transfer],
            # a retrain starts from trained values in every part, so its initialisation is no part of its identity
            init_seed=0 if transfer == "retrain" else derive("init", "seed", seed),
            sgd_seed=derive("sgd", "seed", seed, *(("twin",) if twin else ())),
        )
        here = labels.model_copy(update={"transfer": transfer, "seed": seed, "twin": twin})
        return self._plan.add(name, stage, here, **({"ticket": ticket} if ticket else {}))

    def _probe(self, name: str, a: Node, b: Node, kind: str) -> None:
        recipe = self._recipe
        stage = Probe(
            self._setting,
            recipe.probe_points,
            recipe.batch_size,
            recipe.bn_images,
            recipe.bn_momentum,
            recipe.augmentation,
        )
        labels = a.labels.model_copy(update={"probe": kind, "twin": False})
        self._plan.add(name, stage, labels, a=a, b=b)

    def _pruning_training(self, epochs: int) -> Training:
        return self._training(epochs, self._recipe.round_schedule)

    def _training(self, epochs: int, schedule: Schedule) -> Training:
        recipe = self._recipe
        compiled = recipe.compile_from_epochs is not None and epochs >= recipe.compile_from_epochs
        # of one device, the policy changes nothing, and so must not change a key
        gang = Gang(recipe.gpus_per_stage, recipe.batch_norm) if recipe.gpus_per_stage > 1 else Gang()
        return Training(epochs, recipe.batch_size, recipe.optimizer, schedule, recipe.augmentation, compiled, gang)
