"""One method's chain in a plan: its rounds, from one initialisation on, and what they go back to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.planning.plan import Node, Plan
from orchestrator.recipes import Recipe
from orchestrator.recipes.methods import Method
from orchestrator.store.record import Labels
from tickets import named_source
from workers.devices.seeds import derive
from workers.stages import UNIFORM, Gang, Pretrain, Psi, Round, Schedule, Setting, Training, learning_rate


class Chain:
    """The rounds of one method, from one initialisation on, added to a plan.

    Attributes:
        rounds: their nodes; 0 is the dense one.
    """

    def __init__(self, plan: Plan, setting: Setting, labels: Labels, recipe: Recipe, method: str, chain: int) -> None:
        spec = recipe.known_methods[method]
        self._plan, self._setting, self._number = plan, setting, chain
        self._labels = labels.model_copy(update={"method": method, "chain": chain})
        self._psi: Psi = "interpolated" if spec.interpolate_psi else "plain"
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
        """Of a round; None for what is no round, such as the chain's beginning."""
        return self._labels.model_copy(update={"round": round_})

    def name(self, round_: int) -> str:
        """Of a round's stage."""
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
        training = training_of(recipe, recipe.final_epochs, recipe.final_schedule)
    else:
        training = training_of(recipe, recipe.pretrain_epochs, recipe.round_schedule)
    stop = method.prune_at
    return training if stop is None or stop >= training.epochs else replace(training, stop_after=stop)


def _round_training(recipe: Recipe, method: Method, dense: Training) -> Training:
    """Of a method's rounds after a pruning."""
    again = dense if method.schedule == "final" else training_of(recipe, recipe.round_epochs, recipe.round_schedule)
    if method.prune_at is not None:
        return replace(again, first_epoch=0, stop_after=0)
    if method.schedule_from == "reset":
        return replace(dense, first_epoch=method.reset_to or 0)
    if method.schedule_from == "end":
        lowest = replace(recipe.optimizer, learning_rate=learning_rate(dense, dense.epochs - 1))
        return replace(training_of(recipe, recipe.round_epochs, Schedule()), optimizer=lowest)
    return again


def training_of(recipe: Recipe, epochs: int, schedule: Schedule) -> Training:
    compiled = recipe.compile_from_epochs is not None and epochs >= recipe.compile_from_epochs
    # of one device, the policy changes nothing, and so must not change a key
    gang = Gang(recipe.gpus_per_stage, recipe.batch_norm) if recipe.gpus_per_stage > 1 else Gang()
    return Training(epochs, recipe.batch_size, recipe.optimizer, schedule, recipe.augmentation, compiled, gang)
