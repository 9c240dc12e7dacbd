"""What a ticket from elsewhere holds, read and checked before any work starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from orchestrator.recipes.experiments import Experiment, Found, Parameter, check_parameters
from orchestrator.recipes.layers import RecipeError
from tickets import Provenance, Role, Ticket, TicketError, formats
from tickets.formats.source import Source
from tickets.formats.state_dict import STATISTICS, split
from tickets.inspection import faults
from tickets.parquet import content_blake2b
from workers.storage.artifacts import state_digest


@dataclass(frozen=True)
class Content:
    """A ticket without its tensors, of which a sweep may have a thousand.

    Attributes:
        parameters: role and shape by name.
        weights_blake2b: digest of its trained weights; None without them.
        weights: shapes of its trained weights and statistics, by name.
    """

    ticket_blake2b: str
    provenance: Provenance
    density: float
    parameters: Mapping[str, Parameter]
    weights_blake2b: str | None
    weights: Mapping[str, tuple[int, ...]]


def read_ticket(found: Found) -> tuple[Ticket, dict[str, Tensor] | None]:
    """Read a ticket and its trained weights; None without weights.

    Raises:
        RecipeError: a file cannot be read, holds no sound ticket, or the weights are another ticket's.
    """
    try:
        reading = formats.read_with_format(found.ticket)
        ticket = reading.ticket
        if wrong := faults(ticket):
            raise TicketError(f"{found.place}: {wrong[0]}")
        if found.weights is not None:
            state = dict(Source(found.weights).tensors)
        elif reading.format.trained is not None and reading.names is None:
            state = dict(reading.format.trained(Source(found.ticket)))
        else:
            return ticket, None
        if _are_signs(ticket, state):
            return ticket, None
        state = {name: t for name, t in state.items() if name in ticket.tensors or split(name)[1] in STATISTICS}
        _check_weights(ticket, state, str(found.weights or found.place))
    except formats.NeedsHintError as error:
        remedy = "answer with winning-sign tickets convert, and give the file that it writes"
        raise RecipeError(f"--tickets: {error}: {remedy}") from error
    except TicketError as error:
        raise RecipeError(f"--tickets: {error}") from error
    return ticket, state


def read_content(found: Found) -> Content:
    """Read and check a ticket, and keep what identifies it; RecipeError as ``read_ticket``."""
    ticket, state = read_ticket(found)
    return Content(
        content_blake2b(ticket),
        ticket.provenance,
        ticket.density,
        {name: Parameter(tensor.role, tuple(tensor.sign.shape)) for name, tensor in ticket.tensors.items()},
        None if state is None else state_digest(state),
        {} if state is None else {name: tuple(tensor.shape) for name, tensor in state.items()},
    )


def check_fits(content: Content, experiment: Experiment, place: str, *, own_data: bool) -> None:
    """Raise RecipeError unless a ticket, and its weights, fit an experiment's network.

    Args:
        own_data: whether its classifier must fit too.
    """
    subject = f"--tickets: {place}"
    check_parameters(experiment, content.parameters, subject)
    shapes = {name: each.shape for name, each in experiment.parameters.items()} | dict(experiment.buffers)
    both = [*experiment.parameters.items(), *content.parameters.items()]
    classifier = {name for name, each in both if each.role is Role.CLASSIFIER}
    if own_data:
        for name in sorted(classifier):
            if content.parameters.get(name) != experiment.parameters.get(name):
                raise RecipeError(
                    f"{subject}: its classifier {name} does not fit {experiment.recipe.dataset}, which its provenance "
                    f"names; convert it with another --dataset if that is wrong"
                )
    if content.weights_blake2b is None:
        return
    for name, shape in shapes.items():
        if (own_data or name not in classifier) and content.weights.get(name) != shape:
            stated = content.weights.get(name, "missing")
            raise RecipeError(
                f"{subject}: {name} of its trained weights is {stated}, and of shape {shape} in the network"
            )


def _are_signs(ticket: Ticket, state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict holds signs for weights, as ``tickets convert`` writes it."""
    weights = [state[name] for name in ticket.masks if name in state]
    return bool(weights) and all(
        bool((weight.abs() <= 1).all() and (weight == weight.sign()).all()) for weight in weights
    )


def _check_weights(ticket: Ticket, state: Mapping[str, Tensor], place: str) -> None:
    """Raise TicketError unless the weights are finite, and have the ticket's signs under its masks."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TicketError(f"{place}: {name} has values that are no finite numbers")
    for name, signed in ticket.tensors.items():
        if name not in state or state[name].shape != signed.sign.shape:
            raise TicketError(f"{place}: {name} of the trained weights is missing, or has another shape")
        if not torch.equal((state[name].sign() * signed.mask).to(torch.int8), signed.sign):
            raise TicketError(f"{place}: {name} has other signs than the ticket, so these weights are another one's")
