"""Experiments: recipes whose data exists and whose network the method can prune."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from orchestrator.recipes.experiment_file import ExperimentRequest
from orchestrator.recipes.layers import RecipeError
from orchestrator.recipes.network import Network, check_network, describe_network
from orchestrator.recipes.recipe import Recipe
from orchestrator.recipes.resolution import resolve
from tickets import Provenance, Role, Transfer, UnknownLayerError, named_source, parameter_roles
from tickets.registry import unknown
from workers.data import (
    DataSet,
    ProgressCallback,
    Source,
    SplitSummary,
    check_image_size,
    data_set_names,
    find_data_set,
    find_source,
)
from workers.models import find_architecture
from workers.plugins import fault, owner
from workers.pruning.selection import survivors_after
from workers.stages import IMAGE_SIZE, Imported
from workers.stages.execution import Execution

MOST_PARAMETERS = 20_000_000_000
"""Of a network: training keeps at least 12 bytes of each."""


def find_experiments(
    request: ExperimentRequest,
    execution: Execution,
    progress: ProgressCallback = lambda *_: None,
    *,
    every_byte: bool = False,
) -> list[Experiment]:
    """Pair every data set with every architecture, and check each pair before any work starts.

    Args:
        progress: called while files are read for a data set's fingerprint.
        every_byte: see ``workers.data.find_source``.

    Raises:
        RecipeError: a name is unknown, or a recipe or network cannot be used.
        DataError: data is not where it is expected.
    """
    if not request.datasets:
        raise RecipeError(f"--datasets names no data set; known: {', '.join(data_set_names())}")
    data_sets = {name: _data_set(name) for name in request.datasets}
    archs: Sequence[str | None] = request.archs or [None]
    pairs = dict.fromkeys((dataset, arch) for dataset in data_sets for arch in archs)
    recipes = [resolve(dataset, arch, request.preset or "sound", request.layers) for dataset, arch in pairs]
    for recipe in recipes:
        if not recipe.methods and not request.tickets:
            raise RecipeError(f"recipe for {recipe.dataset}: methods: name at least one, or give --tickets")
        for measure in ("probe_successive_rounds", "test_rounds", "dense_same_budget"):
            if getattr(recipe, measure) and not recipe.methods:
                raise RecipeError(f"{measure}: --tickets alone have no round; give --methods or set false")
        _check_options(recipe, alone=len(archs) == 1)
    root = Path(execution.data_root) if execution.data_root else None
    # once per data set: listing a folder of a million images takes seconds
    cache = Path(execution.data_cache)
    sources = {name: find_source(name, root, cache, progress, every_byte=every_byte) for name in data_sets}
    experiments = [_experiment(recipe, data_sets[recipe.dataset], sources[recipe.dataset]) for recipe in recipes]
    for experiment in experiments:
        for name in experiment.recipe.other_data:
            _check_source(experiment, name, experiments)
    lender = next((recipe.dataset for recipe in recipes if recipe.tickets_from), None)
    if lender and not any(recipe.other_data for recipe in recipes):
        raise RecipeError(f"tickets_from: no data set but {lender} could take these tickets; name one in --datasets")
    return experiments


def _check_source(experiment: Experiment, name: str, experiments: Iterable[Experiment]) -> None:
    """Raise RecipeError unless the tickets of another data set's experiment can be transferred to this one."""
    recipe = experiment.recipe
    subject = f"tickets_from of {recipe.dataset}/{recipe.arch}: {name}"
    source = next((e for e in experiments if (e.recipe.dataset, e.recipe.arch) == (name, recipe.arch)), None)
    if source is None:
        raise RecipeError(f"{subject} is not among the data sets of this sweep; name it in --datasets, or leave it out")
    last = max(recipe.compared_rounds, default=0)
    if last > source.recipe.rounds:
        raise RecipeError(f"{subject} has rounds 0 to {source.recipe.rounds}, and round {last} is to be transferred")
    for transfer in recipe.transfers:
        for other in recipe.known_transfers[transfer].others:
            kind, number = named_source(other) or ("", 0)
            epochs = min(map(source.recipe.round_zero_epochs, source.recipe.methods), default=number)
            most = {"round": source.recipe.rounds, "epoch": epochs}.get(kind, number)
            if number > most:
                raise RecipeError(f"{subject}: transfer {transfer} takes {other}, and its last {kind} is {most}")
    check_parameters(experiment, source.parameters, subject)


def check_parameters(experiment: Experiment, given: Mapping[str, Parameter], subject: str) -> None:
    """Raise RecipeError unless a ticket has the network's parameters; the classifiers may differ.

    Args:
        given: the ticket's parameters by name.
        subject: the beginning of the sentence.
    """
    here = experiment.parameters
    for name in {**here, **given}:
        roles = {parameters[name].role for parameters in (here, given) if name in parameters}
        if roles == {Role.CLASSIFIER}:
            continue
        recipe = experiment.recipe
        network = f"{recipe.arch} on {recipe.dataset}"
        if name not in given:
            raise RecipeError(f"{subject} lacks {name}, which {network} has")
        if name not in here:
            raise RecipeError(f"{subject} has {name}, which {network} lacks")
        if given[name] != here[name]:
            both = f"{given[name]} there, and {here[name]} in {network}"
            raise RecipeError(f"{subject}: {name} is {both}; give its own --archs and --set model.NAME=VALUE")


def _data_set(name: str) -> DataSet:
    data_set = find_data_set(name)
    if data_set is None:
        raise RecipeError(unknown("data set", name, data_set_names(), plugins=True))
    return data_set


def _experiment(recipe: Recipe, data_set: DataSet, source: Source) -> Experiment:
    """Build the recipe's network, and check that the method can prune it."""
    architecture = find_architecture(recipe.arch)
    if source.size is not None and recipe.image_size != IMAGE_SIZE:
        check_image_size(recipe.dataset, source.size, recipe.image_size)
    options = " ".join(f"model.{name}={value}" for name, value in recipe.model.items())
    subject = f"architecture {recipe.arch}{options and f' with {options}'}"
    assert source.num_classes is not None
    try:
        shape = {"in_channels": data_set.channels, "num_classes": source.num_classes}
        try:
            with torch.device("meta"):  # no memory, no time
                model = architecture.build(**shape, **recipe.model)
        except (RuntimeError, NotImplementedError):  # its constructor reads values, as drop-path code does
            model = architecture.build(**shape, **recipe.model)
        if not isinstance(model, nn.Module):
            raise TypeError(f"{owner(architecture.function)} returns a {type(model).__name__}, and no torch.nn.Module")
        network = describe_network(model, source.num_classes)
        empty = [name for name, parameter in model.named_parameters() if not parameter.numel()]
        if empty:
            raise ValueError(f"{empty[0]} has no elements")
    except (TypeError, ValueError, RuntimeError, UnknownLayerError) as error:
        refused = architecture.refused(error, recipe.model)
        raise RecipeError(f"architecture {recipe.arch}: {refused}" if refused else f"{subject}: {error}") from error
    except (Exception, SystemExit) as error:  # a plugin's function, or a library's, may raise anything
        of = "" if architecture.function.__module__.startswith("workers.") else f" of {owner(architecture.function)}"
        raise RecipeError(f"{subject}{of}: {fault(error)}") from error
    if network.parameters > MOST_PARAMETERS:
        raise RecipeError(
            f"{subject}: {network.parameters:,} parameters, and at most {MOST_PARAMETERS:,}, because weights, "
            f"gradients and momentum of more fit in no GPU"
        )
    check_rounds(recipe, recipe.rounds, network.prunable_weights)
    roles = parameter_roles(model, source.num_classes)
    prunable = [name for name, role in roles.items() if role is Role.PRUNABLE]
    check_network(recipe, network, model, prunable, lambda: architecture.build(**shape, **recipe.model))
    parameters = {name: Parameter(role, tuple(model.get_parameter(name).shape)) for name, role in roles.items()}
    buffers = {name: tuple(buffer.shape) for name, buffer in model.named_buffers()}
    splits, left_out = source.splits, source.left_out
    return Experiment(recipe, source.fingerprint, architecture.version, network, splits, left_out, parameters, buffers)


def _check_options(recipe: Recipe, *, alone: bool) -> None:
    """Raise RecipeError if the network does not take an option; every network of a sweep gets all of them."""
    if sentence := find_architecture(recipe.arch).unfit(recipe.model):
        several = "" if alone else f"; every network of --archs gets it, so sweep {recipe.arch} by itself"
        raise RecipeError(f"architecture {recipe.arch}: {sentence}{several}")


def check_rounds(recipe: Recipe, rounds: int, weights: int) -> None:
    """Raise RecipeError if a chain of so many rounds ends with no prunable weight."""
    one_shot = all(recipe.known_methods[name].one_shot for name in recipe.methods)
    alive, most = weights, 0
    while most < rounds:
        share = 1 - (1 - recipe.prune_fraction) ** (most + 1) if one_shot else recipe.prune_fraction
        alive = survivors_after(weights if one_shot else alive, share)
        if not alive:
            break
        most += 1
    if most < rounds and recipe.methods:
        if not weights:
            raise RecipeError(f"{recipe.arch} has no prunable weight; choose a network with a hidden layer")
        remedy = f"give at most {most} rounds" if most else "give a smaller prune_fraction"
        raise RecipeError(
            f"rounds {rounds}: round {most + 1} would keep none of the {weights:,} prunable weights of {recipe.arch}; "
            f"{remedy}"
        )


class Parameter(NamedTuple):
    """A parameter of a network, or a tensor of a ticket."""

    role: Role
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.role.value} of shape {self.shape}"


@dataclass(frozen=True)
class Found:
    """A ticket's place.

    Attributes:
        place: for messages.
        ticket: its file or folder on this machine.
        weights: the file with its trained weights; None if there is none, or the ticket's own file holds them.
        chosen: whether the user named this very ticket, rather than a whole store.
        architecture, chain, round: as a store labels it; None if nothing states it.
        fingerprint: of the data that it is of; None if unknown.
    """

    place: str
    ticket: Path
    weights: Path | None = None
    chosen: bool = True
    architecture: str | None = None
    chain: int | None = None
    round: int | None = None
    fingerprint: str | None = None


@dataclass(frozen=True)
class ForeignTicket:
    """A ticket that another store, another project or a file holds.

    Attributes:
        stage: what identifies its copy in the store.
        source: as the user named it.
        found: its files, and what a store says of it.
        provenance, density: as its file states them.
        method, chain, round: its labels here, such as "aws@theirs:cifar10".
        own_data: whether it is of the data set that it is to be trained on, so that its classifier's signs count.
        probed: whether pairs of its solutions are probed.
    """

    stage: Imported
    source: str
    found: Found
    provenance: Provenance
    density: float
    method: str
    chain: int
    round: int
    own_data: bool
    probed: bool

    @property
    def has_weights(self) -> bool:
        """Whether its trained weights are known."""
        return self.stage.weights_blake2b is not None

    def lacks(self, transfer: Transfer) -> str:
        """Name what a transfer takes that this ticket does not have; empty if nothing."""
        if not self.has_weights and transfer.takes_trained:
            return "trained weights"
        if transfer.matched:
            return "dense solution"
        others = (source for source in transfer.others if (named_source(source) or ("", 0))[0] in ("round", "epoch"))
        return next(others, "")


@dataclass(frozen=True)
class Experiment:
    """A recipe, its data, and its network.

    Attributes:
        data_fingerprint: of the data set's files.
        model_version: the registered version of the architecture.
        splits, left_out: what the data set holds, as in ``Source``.
        parameters: of the network, by name.
        buffers: shapes of its running statistics, by name.
        tickets: those from elsewhere that it starts from too.
    """

    recipe: Recipe
    data_fingerprint: str
    model_version: int = 1
    network: Network | None = None
    splits: Mapping[str, SplitSummary] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    buffers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    tickets: tuple[ForeignTicket, ...] = ()
