"""A network as the method sees it: the roles of its parameters, and what it lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from orchestrator.recipes.layers import RecipeError
from orchestrator.recipes.recipe import Recipe
from tickets import Role, Transfer, classifier_name, parameter_roles
from tickets.roles import is_normalization
from workers.probing.probes import PROBES
from workers.training.gang.batch_norm import unfit_for_gangs
from workers.training.psi import psi_names


@dataclass(frozen=True)
class Network:
    """A network as the method sees it: its size, its prunable part, its classifier, and its psi.

    Attributes:
        roles: numbers of parameters by role, in the order of ``tickets.Role``; roles without a parameter are left out.
        psi_layers: numbers of normalization layers with parameters, by class.
    """

    parameters: int
    prunable_weights: int
    prunable_layers: int
    classifier: str
    roles: Mapping[str, int] = field(default_factory=dict)
    psi_layers: Mapping[str, int] = field(default_factory=dict)


def describe_network(model: nn.Module, num_classes: int) -> Network:
    """Count a network's parameters by role; it may be on the meta device. Raises as ``tickets.parameter_roles``."""
    roles = parameter_roles(model, num_classes)
    counts: Counter[Role] = Counter()
    for name, parameter in model.named_parameters():
        counts[roles[name]] += parameter.numel()
    norms = [each for each in model.modules() if is_normalization(each) and [*each.parameters(recurse=False)]]
    return Network(
        counts.total(),
        counts[Role.PRUNABLE],
        list(roles.values()).count(Role.PRUNABLE),
        classifier_name(model, num_classes),
        {role.value: counts[role] for role in Role if counts[role]},
        dict(Counter(type(norm).__name__ for norm in norms)),
    )


def check_network(
    recipe: Recipe, network: Network, model: nn.Module, prunable: Sequence[str], build: Callable[[], nn.Module]
) -> None:
    """Refuse what a recipe asks of a network that cannot have it.

    Args:
        network, model: the network described, and itself; it may be on the meta device.
        prunable: names of its prunable weights.
        build: returns the network with its initial values; called only if they matter.

    Raises:
        RecipeError: a method, start, probe or gang is not possible with it.
    """
    _check_psi(recipe, network)
    _check_gang(recipe, model)
    _check_initial_psi(recipe, build)
    _check_probes(recipe, model, prunable)


def _check_probes(recipe: Recipe, model: nn.Module, prunable: Sequence[str]) -> None:
    """Refuse probes that cannot measure the network."""
    for name in recipe.probes:
        if why := PROBES[name].unfit(model, prunable):
            raise RecipeError(f"probes: {name} cannot measure {recipe.arch}, which {why}; leave it out of probes")


def _check_gang(recipe: Recipe, model: nn.Module) -> None:
    """Refuse a gang for a network that several devices cannot train together."""
    if recipe.gpus_per_stage > 1 and (why := unfit_for_gangs(model)):
        raise RecipeError(f"gpus_per_stage {recipe.gpus_per_stage} with {recipe.arch}: {why}")


def _check_psi(recipe: Recipe, network: Network) -> None:
    """Refuse methods and transfers that would be other ones under a second name, because the network has no psi."""
    if network.psi_layers:
        return
    lacks = f"{recipe.arch} has no normalization layer"
    for name in recipe.methods:
        if recipe.known_methods[name].interpolate_psi:
            raise RecipeError(
                f"methods: {name} interpolates psi, and {lacks}, so it would train as a method without interpolation "
                f"does; leave it out, such as --methods lrr"
            )
    starts: dict[Transfer, str] = {}
    for name in ("retrain", *recipe.transfers):
        without_psi = replace(recipe.known_transfers[name], psi="fresh", psi_shift=0.0)
        if without_psi in starts:
            raise RecipeError(
                f"transfers: {name} differs from {starts[without_psi]} in psi alone, and {lacks}; leave one of them out"
            )
        starts[without_psi] = name


def _check_initial_psi(recipe: Recipe, build: Callable[[], nn.Module]) -> None:
    """Refuse to interpolate psi towards an initialisation that the network does not have.

    AWS interpolates scales towards 1 and shifts towards 0 (paper, section 4). Some networks draw other values: timm's
    ResNets begin with a scale of 0 in the last normalization of each block.
    """
    interpolating = [name for name in recipe.methods if recipe.known_methods[name].interpolate_psi]
    if not interpolating:
        return
    with torch.random.fork_rng(devices=()):
        model = build()
    for name, value in psi_names(model).items():
        fresh = model.get_parameter(name)
        if not torch.equal(fresh, torch.full_like(fresh, value)):
            given = ", such as --set model.zero_init_last=false for timm's ResNets" if value == 1.0 else ""
            raise RecipeError(
                f"methods: {interpolating[0]} interpolates psi towards a scale of 1 and a shift of 0, and {name} of "
                f"{recipe.arch} does not begin at {value:g}; give the network's option for that{given}, or leave "
                f"{interpolating[0]} out, such as --methods lrr"
            )
