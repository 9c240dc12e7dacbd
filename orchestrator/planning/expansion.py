"""From experiments to the plan: every stage that a comparison of methods needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.planning.chain import Chain, training_of
from orchestrator.planning.plan import Node, Plan
from orchestrator.recipes.experiments import Experiment
from orchestrator.store.record import Labels
from workers.devices.seeds import derive
from workers.probing.probes import PROBES
from workers.stages import Data, Model, PairProbe, Probe, Setting, Train


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
        self._final = training_of(recipe, recipe.final_epochs, recipe.final_schedule)

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
        grown = Chain(self._plan, self._setting, self._labels, recipe, method, chain)
        for round_ in needed:
            self._uses(grown, round_, probed=round_ in recipe.probe_rounds)

    def _uses(self, chain: Chain, round_: int, *, probed: bool) -> None:
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
        chain: Chain | None = None,
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
