"""The plan: the directed acyclic graph of stages that a sweep expands to. Pure: no I/O, no clock, no Ray."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from orchestrator.identity import stage_key
from orchestrator.methods import Method
from orchestrator.recipes import Recipe
from orchestrator.record import Labels, PlannedStage, StoredPlan
from tickets import named_source
from workers.probes import PROBES
from workers.seeds import derive
from workers.stages import (
    UNIFORM,
    Data,
    Gang,
    Model,
    PairProbe,
    Pretrain,
    Probe,
    PsiTraining,
    Round,
    Schedule,
    Setting,
    Stage,
    Train,
    Training,
    learning_rate,
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
    if isinstance(node.stage, PairProbe):
        return f"probe {node.stage.probe}"
    return f"probe {node.labels.probe}" if kind == "probe" else kind


def expand(experiments: Iterable[Experiment]) -> Plan:
    """All stages of some experiments.

    For every method and chain: pretraining, then its rounds. From the tickets of the transfer rounds, for every seed:
    the retrain and each transfer. In probe rounds: a twin for stability, and the probes of each pair. Dense trainings
    per seed.
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
        self._final = _training(recipe, recipe.final_epochs, recipe.final_schedule)

    def add_all(self) -> None:
        for seed in self._seeds():
            self._final_training(f"{self._prefix}/dense/seed{seed}", self._labels, "dense", seed)
        for chain in range(1, self._recipe.chains + 1):
            for method in self._recipe.methods:
                self._chain(method, chain)

    def _seeds(self) -> range:
        return range(1, self._recipe.seeds + 1)

    def _chain(self, method: str, chain: int) -> None:
        recipe = self._recipe
        needed = sorted({*recipe.transfer_rounds, *recipe.probe_rounds})
        grown = _Chain(self._plan, self._setting, self._labels, recipe, method, chain)
        for round_ in needed:
            self._uses(grown, round_, probed=round_ in recipe.probe_rounds)

    def _uses(self, chain: _Chain, round_: int, *, probed: bool) -> None:
        """Everything that starts from one ticket."""
        prefix, labels = chain.name(round_), chain.labels(round_)
        earlier: Node | None = None
        for seed in self._seeds():
            retrain = self._final_training(f"{prefix}/retrain/seed{seed}", labels, "retrain", seed, chain, round_)
            # two retrains differ in their SGD seed only, so neighbours are a stability pair
            if probed and earlier is not None:
                self._probe(f"{prefix}/retrain/stability/seed{seed}", retrain, earlier, "stability")
            earlier = retrain
            for transfer in self._recipe.transfers:
                name = f"{prefix}/{transfer}/seed{seed}"
                solution = self._final_training(name, labels, transfer, seed, chain, round_)
                if not probed:
                    continue
                self._probe(f"{prefix}/{transfer}/lmc/seed{seed}", solution, retrain, "lmc")
                if transfer in self._recipe.twins:
                    twin = self._final_training(f"{name}/twin", labels, transfer, seed, chain, round_, twin=True)
                    self._probe(f"{prefix}/{transfer}/stability/seed{seed}", solution, twin, "stability")

    def _final_training(
        self,
        name: str,
        labels: Labels,
        transfer: str,
        seed: int,
        chain: _Chain | None = None,
        round_: int = 0,
        *,
        twin: bool = False,
    ) -> Node:
        start = self._recipe.start(transfer)
        stage = Train(
            self._setting,
            self._final,
            start,
            # a start that draws nothing, such as a retrain's, has no initialisation of its own in its identity
            init_seed=derive("init", "seed", seed) if start.draws else 0,
            sgd_seed=derive("sgd", "seed", seed, *(("twin",) if twin else ())),
        )
        here = labels.model_copy(update={"transfer": transfer, "seed": seed, "twin": twin})
        inputs = {} if chain is None else {"ticket": chain.rounds[round_], **chain.sources(start.others)}
        return self._plan.add(name, stage, here, **inputs)

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
        for probe in recipe.probes:
            measure = PairProbe(self._setting, probe, PROBES[probe].version)
            self._plan.add(f"{name}/{probe}", measure, labels, a=a, b=b)


class _Chain:
    """The rounds of one method, from one initialisation on."""

    def __init__(self, plan: Plan, setting: Setting, labels: Labels, recipe: Recipe, method: str, chain: int) -> None:
        spec = recipe.known_methods[method]
        self._plan, self._setting, self._number = plan, setting, chain
        self._labels = labels.model_copy(update={"method": method, "chain": chain})
        self._psi: PsiTraining = "aws" if spec.interpolate_psi else "lrr"
        # without interpolation none is drawn, so those keys must not know of it
        self._alpha = recipe.alpha if spec.interpolate_psi else UNIFORM
        self._dense = _dense_training(recipe, spec)
        training, pruning = _round_training(recipe, spec, self._dense), spec.pruning(method)
        reset = {} if spec.reset_to is None else {"reset": self._after(spec.reset_to)}
        self.rounds = [self._after(self._dense.span.stop)]
        for round_ in range(1, recipe.rounds + 1):
            stage = Round(
                setting,
                training,
                self._psi,
                round_,
                recipe.prune_fraction,
                self._sgd_seed(round_),
                self._alpha,
                pruning,
            )
            previous = self.rounds[0 if spec.one_shot else -1]
            node = plan.add(self.name(round_), stage, self.labels(round_), previous=previous, **reset)
            self.rounds.append(node)

    def labels(self, round_: int | None) -> Labels:
        return self._labels.model_copy(update={"round": round_})

    def name(self, round_: int) -> str:
        return f"{self._prefix}/round{round_:02d}"

    def sources(self, names: Iterable[str]) -> dict[str, Node]:
        """What a transfer reads of this chain beside its ticket, by input name; other names are no stage's."""
        found = {name: named_source(name) or ("", 0) for name in names}
        rounds = {name: self.rounds[number] for name, (kind, number) in found.items() if kind == "round"}
        return rounds | {name: self._after(number) for name, (kind, number) in found.items() if kind == "epoch"}

    @property
    def _prefix(self) -> str:
        labels = self._labels
        return f"{labels.dataset}/{labels.architecture}/{labels.method}/chain{self._number}"

    def _sgd_seed(self, round_: int) -> int:
        # paired: the chains of all methods share their initialisation and their draws
        return derive("sgd", "chain", self._number, "round", round_)

    def _after(self, epochs: int) -> Node:
        """Round 0 after so many of its epochs."""
        whole = epochs == self._dense.span.stop
        training = self._dense if whole else replace(self._dense, stop_after=epochs)
        init_seed = derive("init", "chain", self._number)
        stage = Pretrain(self._setting, training, self._psi, init_seed, self._sgd_seed(0), self._alpha)
        name = self.name(0) if whole else f"{self._prefix}/epoch{epochs:03d}"
        return self._plan.add(name, stage, self.labels(0 if whole else None))


def _dense_training(recipe: Recipe, method: Method) -> Training:
    """Of a method's round 0."""
    if method.schedule == "final":
        training = _training(recipe, recipe.final_epochs, recipe.final_schedule)
    else:
        training = _training(recipe, recipe.pretrain_epochs, recipe.round_schedule)
    stop = method.prune_at
    return training if stop is None or stop >= training.epochs else replace(training, stop_after=stop)


def _round_training(recipe: Recipe, method: Method, dense: Training) -> Training:
    """Of a method's rounds after a pruning."""
    again = dense if method.schedule == "final" else _training(recipe, recipe.round_epochs, recipe.round_schedule)
    if method.prune_at is not None:
        return replace(again, first_epoch=0, stop_after=0)
    if method.schedule_from == "reset":
        return replace(dense, first_epoch=method.reset_to or 0)
    if method.schedule_from == "end":
        lowest = replace(recipe.optimizer, learning_rate=learning_rate(dense, dense.epochs - 1))
        return replace(_training(recipe, recipe.round_epochs, Schedule()), optimizer=lowest)
    return again


def _training(recipe: Recipe, epochs: int, schedule: Schedule) -> Training:
    compiled = recipe.compile_from_epochs is not None and epochs >= recipe.compile_from_epochs
    # of one device, the policy changes nothing, and so must not change a key
    gang = Gang(recipe.gpus_per_stage, recipe.batch_norm) if recipe.gpus_per_stage > 1 else Gang()
    return Training(epochs, recipe.batch_size, recipe.optimizer, schedule, recipe.augmentation, compiled, gang)
