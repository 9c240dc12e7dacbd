"""The steps of the algorithm as stages in a plan, with their names, labels, seeds and inputs. Pure."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.planning.plan import Node, Plan
from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.methods import Method
from orchestrator.recipes.recipe import ROUND_END, Recipe
from orchestrator.recipes.study import DENSE_SAME_BUDGET
from orchestrator.store.record import Labels
from tickets import Transfer, named_source
from workers.devices.seeds import derive
from workers.stages import (
    NO_RULES,
    UNIFORM,
    Data,
    Gang,
    Model,
    Pretrain,
    Psi,
    Round,
    Rules,
    Schedule,
    Setting,
    Train,
    Training,
    learning_rate,
)
from workers.training.rules.completion import completed_rules


class ExperimentPlanner:
    """Adds one experiment's stages to a plan."""

    def __init__(self, plan: Plan, experiment: Experiment) -> None:
        recipe = experiment.recipe
        self.plan, self.recipe = plan, recipe
        pixels = recipe.image_size, recipe.pixel_mean, recipe.pixel_std
        data = Data(recipe.dataset, experiment.data_fingerprint, recipe.validation_fraction, *pixels)
        model = Model(recipe.arch, recipe.model, experiment.model_version)
        self.setting = Setting(recipe.preset, data, model, recipe.watch_test_set, recipe.precision)
        self.labels = Labels(dataset=recipe.dataset, architecture=recipe.arch, preset=recipe.preset)
        self.prefix = f"{recipe.dataset}/{recipe.arch}"

    def train_dense(self, seed: int, stop_after: int | None = None) -> Node:
        """Train a fresh dense network by the final training: the baseline; or its first ``stop_after`` epochs."""
        name, labels = f"{self.prefix}/dense/seed{seed}", replace(self.labels, transfer="dense", seed=seed)
        if stop_after in (None, self.recipe.final_epochs):
            return self.add_training(name, labels, self.recipe.start("dense"))
        whole = self.train_dense(seed).stage
        assert isinstance(whole, Train)
        begun = replace(whole, training=replace(whole.training, stop_after=stop_after), read_test_set=False)
        return self.plan.add(f"{name}/epoch{stop_after:03d}", begun, replace(labels, transfer=None))

    def train_dense_same_budget(self, seed: int) -> Node:
        """Train the dense network of a seed for as many epochs as the longest chain and a final training together."""
        training, init_seed = same_budget_training(self.recipe), derive("init", "seed", seed)
        stage = Train(self.setting, training, self.recipe.start("dense"), init_seed, derive("sgd", "seed", seed))
        labels = replace(self.labels, transfer=DENSE_SAME_BUDGET, seed=seed)
        return self.plan.add(f"{self.prefix}/{DENSE_SAME_BUDGET}/seed{seed}", stage, labels)

    def add_training(self, name: str, labels: Labels, transfer: Transfer, **inputs: Node) -> Node:
        """Add the final training of a start; its seed, and whether it is a twin, are those of the labels."""
        seed, twin = labels.seed or 0, labels.twin
        first_epoch = self.recipe.first_epochs.get(labels.transfer or "", 0)
        training = replace(final_training(self.recipe), first_epoch=first_epoch)
        stage = Train(
            self.setting,
            training if transfer.needs_ticket else replace(training, rules=training.rules.of_dense),
            transfer,
            # a start that draws nothing, such as the retrain, has no initialisation in its key
            init_seed=derive("init", "seed", seed) if transfer.draws else 0,
            sgd_seed=derive("sgd", "seed", seed, *(("twin",) if twin else ())),
        )
        return self.plan.add(name, stage, labels, **inputs)


class ChainPlanner:
    """Adds a pruning chain of a method; chains of all methods with one number share initialisation and draws.

    Attributes:
        method: the pruning method.
        rounds: nodes of the rounds planned so far; round 0 is the dense network.
        experiment: the planner of the data set and network that it prunes.
        labels: what its stages share.
        prefix: the beginning of its stages' names.
    """

    def __init__(self, experiment: ExperimentPlanner, method: str, number: int) -> None:
        recipe = experiment.recipe
        self.method = recipe.known_methods[method]
        self.rounds: list[Node] = []
        self.experiment, self._plan, self._recipe = experiment, experiment.plan, recipe
        self._setting, self._number = experiment.setting, number
        self.labels = replace(experiment.labels, method=method, chain=number)
        self.prefix = f"{experiment.prefix}/{method}/chain{number}"
        self._psi: Psi = "interpolated" if self.method.interpolate_psi else "plain"
        # without interpolation no alpha is drawn, so its distribution must not be in the key
        self._alpha = recipe.alpha if self.method.interpolate_psi else UNIFORM
        self._pruning = self.method.pruning(method)

    def pretrain(self, stop_after: int | None = None) -> Node:
        """Add round 0, the dense training; or its first ``stop_after`` epochs, as a point to rewind to."""
        training = dense_training(self._recipe, self.method)
        whole = stop_after is None or stop_after == training.span.stop
        if not whole:
            training = replace(training, stop_after=stop_after)
        if not training.span:
            training = replace(training, rules=NO_RULES)  # nothing happens, so a key must not hold it
        init_seed = derive("init", "chain", self._number)
        stage = Pretrain(self._setting, training, self._psi, init_seed, self._sgd_seed(0), self._alpha)
        name = self._name(0) if whole else f"{self.prefix}/epoch{stop_after:03d}"
        return self._plan.add(name, stage, self._round_labels(0 if whole else None))

    def prune_rewind_train(self, round_: int, network: Node, rewind_to: Node | None) -> Node:
        """Add a round: prune ``network``, reset survivors to ``rewind_to`` (None keeps their weights), and train."""
        training, share = round_training(self._recipe, self.method), self._recipe.prune_fraction
        sgd_seed = self._sgd_seed(round_)
        stage = Round(self._setting, training, self._psi, round_, share, sgd_seed, self._alpha, self._pruning)
        reset = {} if rewind_to is None else {"reset": rewind_to}
        return self._plan.add(self._name(round_), stage, self._round_labels(round_), previous=network, **reset)

    def source(self, name: str) -> Node:
        """The stage of a source that a transfer names, such as "round_3" or "epoch_0"."""
        kind, number = named_source(name) or ("", 0)
        return self.rounds[number] if kind == "round" else self.pretrain(stop_after=number)

    def test_rounds(self) -> None:
        """Add the test of each round's network as it is: a retrain without epochs, so that a chain keeps its keys."""
        recipe = self._recipe
        untrained = Training(0, recipe.batch_size, recipe.optimizer)
        stage = Train(self._setting, untrained, recipe.start("retrain"), init_seed=0, sgd_seed=0)
        for round_, network in enumerate(self.rounds):
            # comparisons pair seeds, and a round has one test
            labels = replace(self._round_labels(round_), transfer=ROUND_END, seed=1)
            self._plan.add(f"{self._name(round_)}/{ROUND_END}", stage, labels, ticket=network)

    def _round_labels(self, round_: int | None) -> Labels:
        return replace(self.labels, round=round_)

    def _name(self, round_: int) -> str:
        return f"{self.prefix}/round{round_:02d}"

    def _sgd_seed(self, round_: int) -> int:
        # without the method's name: chains of all methods are paired
        return derive("sgd", "chain", self._number, "round", round_)


def final_training(recipe: Recipe) -> Training:
    """The training that makes a solution of a start."""
    return _training(recipe, recipe.final_epochs, recipe.final_schedule, recipe.final_training)


def same_budget_training(recipe: Recipe) -> Training:
    """The final training, stretched to the epochs of a chain and a final training together, of the longest method."""
    final = final_training(recipe)
    chains = []
    for method in (recipe.known_methods[name] for name in recipe.methods):
        rounds = 1 if method.one_shot else recipe.rounds
        chains.append(len(dense_training(recipe, method).span) + rounds * len(round_training(recipe, method).span))
    epochs = max(chains, default=0) + final.epochs
    milestones = tuple(round(milestone * epochs / final.epochs) for milestone in final.schedule.milestones)
    return _training(recipe, epochs, replace(final.schedule, milestones=milestones), final.rules.of_dense)


def chain_rules(recipe: Recipe, method: Method) -> Rules:
    """What happens in a method's rounds, and but for the mask rule in its round 0."""
    return recipe.round_training.under(completed_rules(method.training))


def dense_training(recipe: Recipe, method: Method) -> Training:
    """The training of a method's round 0."""
    rules = chain_rules(recipe, method).of_dense
    if method.schedule == "final":
        training = _training(recipe, recipe.final_epochs, recipe.final_schedule, rules)
    else:
        training = _training(recipe, recipe.pretrain_epochs, recipe.round_schedule, rules)
    stop = method.prune_at
    return training if stop is None or stop >= training.epochs else replace(training, stop_after=stop)


def round_training(recipe: Recipe, method: Method) -> Training:
    """The training of a method's rounds after pruning; its span is empty for pruning at one point of round 0."""
    rules, dense = chain_rules(recipe, method), dense_training(recipe, method)
    training = _training(recipe, recipe.round_epochs, recipe.round_schedule, rules)
    if method.schedule == "final":
        training = _training(recipe, recipe.final_epochs, recipe.final_schedule, rules)
    if method.prune_at is not None and not method.sparse_training:
        return replace(training, first_epoch=0, stop_after=0, rules=NO_RULES)
    if method.schedule_from == "reset":
        return replace(dense, first_epoch=method.reset_to or 0, rules=rules)
    if method.schedule_from == "end":
        lowest = replace(recipe.optimizer, learning_rate=learning_rate(dense, dense.epochs - 1))
        return replace(_training(recipe, recipe.round_epochs, Schedule(), rules), optimizer=lowest)
    return training


def _training(recipe: Recipe, epochs: int, schedule: Schedule, rules: Rules) -> Training:
    compiled = recipe.compile_from_epochs is not None and epochs >= recipe.compile_from_epochs
    # on one device the batch-norm policy changes no number, so it must not change a key
    gang = Gang(recipe.gpus_per_stage, recipe.batch_norm) if recipe.gpus_per_stage > 1 else Gang()
    return Training(
        epochs, recipe.batch_size, recipe.optimizer, schedule, recipe.augmentation, compiled, gang, rules=rules
    )
