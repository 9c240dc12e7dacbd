"""Which parameter of a network each tensor of a ticket belongs to."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches

from torch import Tensor, nn

from tickets.errors import TicketError
from tickets.network.wrappers import COMPILED
from tickets.roles import Role
from tickets.signed import SignedTensor

OWN_CLASSIFIER = 'to take none over say transfer=dataclasses.replace(tickets.SIGNED, classifier="fresh")'
WHOLE = "build the network that the ticket was made for (ticket.provenance names it)"


def counterparts(
    tensors: Mapping[str, SignedTensor],
    network: nn.Module,
    names: Mapping[str, str] | None = None,
    *,
    own_classifier: bool = False,
) -> dict[str, str]:
    """The network's name of each of a ticket's tensors.

    Args:
        network: without wrappers; ``torch.compile`` may wrap parts of it.
        names: what some of the ticket's tensors are called in the network; the others have the same name.
        own_classifier: the ticket's classifier need not be there, nor be of the same shape.

    Raises:
        TicketError: a tensor has no counterpart, or one of another shape, or a parameter has none; the message names
            the first, with the names nearest to it.
    """
    names = names or {}
    shapes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    found = _found(tensors, shapes, names)
    optional = {name for name, tensor in tensors.items() if own_classifier and tensor.role is Role.CLASSIFIER}
    own = tuple(f"{_layer(found[name])}." for name in optional if name in found)
    missing = [name for name in tensors if name not in found and name not in optional]
    taken = set(found.values())
    free = [name for name in shapes if name not in taken and not name.startswith(own)]
    _refuse_a_prefix(missing, free, tensors)
    for name, tensor in tensors.items():
        if name in missing:
            raise TicketError(_no_parameter(name, names, tensor, free, shapes))
        if name not in optional and shapes[found[name]] != tuple(tensor.sign.shape):
            raise TicketError(_other_shape(name, tensor, found[name], shapes[found[name]]))
    if free:
        raise TicketError(_no_tensor(free[0], tensors, optional - found.keys()))
    return found


def renamed(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """A state dict under a network's names; a buffer goes with the parameters of its layer."""
    layers = {_layer(old): _layer(new) for old, new in names.items()}

    def new(name: str) -> str:
        layer, leaf = _layer(name), name.rpartition(".")[2]
        return names.get(name) or ".".join(filter(None, (layers.get(layer, layer), leaf)))

    return {new(name): tensor for name, tensor in state.items()}


def _found(tensors: Collection[str], shapes: Collection[str], names: Mapping[str, str]) -> dict[str, str]:
    for name in names:
        if name not in tensors:
            known = _nearest(name, tensors)
            raise TicketError(f"{name}: names leads from the ticket's names to the model's, and this is none{known}")
    parameters = {_plain(name): name for name in shapes} | {name: name for name in shapes}
    found: dict[str, str] = {}
    takers: dict[str, str] = {}
    for name in tensors:
        here = names.get(name, name)
        parameter = parameters.get(here) or parameters.get(_plain(here))
        if parameter is None:
            continue
        if parameter in takers:
            raise TicketError(
                f"{name} and {takers[parameter]} would both be the model's {parameter}; say which in names"
            )
        takers[parameter] = name
        found[name] = parameter
    return found


def _plain(name: str) -> str:
    """A parameter's name without what is added by torch.compile, anywhere, and DistributedDataParallel, in front."""
    return re.sub(r"^(module\.)+", "", name.replace(f"{COMPILED}.", ""))


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _refuse_a_prefix(missing: list[str], free: list[str], tensors: Mapping[str, SignedTensor]) -> None:
    body = [name for name in missing if tensors[name].role is not Role.CLASSIFIER]
    if prefix := _prefix(body, free):
        raise TicketError(
            f'the model has "{prefix}" before each of the names in the ticket: '
            f'apply the ticket to model.get_submodule("{prefix[:-1]}"), '
            f'or say names={{name: "{prefix}" + name for name in ticket.tensors}}'
        )
    if prefix := _prefix(free, missing):
        raise TicketError(
            f'the ticket has "{prefix}" before each of the names in the model: '
            f'say names={{name: name.removeprefix("{prefix}") for name in ticket.tensors}}'
        )


def _prefix(short: list[str], long: list[str]) -> str | None:
    """What stands before every one of the short names among the long ones; None where that is not one and the same."""
    if not short:
        return None
    candidates = (name.removesuffix(short[0]) for name in long if name.endswith(f".{short[0]}"))
    return next((prefix for prefix in candidates if {prefix + name for name in short} <= set(long)), None)


def _no_parameter(
    name: str, names: Mapping[str, str], tensor: SignedTensor, free: list[str], shapes: Mapping[str, tuple[int, ...]]
) -> str:
    what = f"names calls it {names[name]}, and the model" if name in names else "the model"
    shape = tuple(tensor.sign.shape)
    alike = [other for other in free if shapes[other] == shape]
    if near := get_close_matches(name, alike, n=3, cutoff=0):
        remedy = f'of its shape are {", ".join(near)}; if it is one of them, say names={{"{name}": "{near[0]}"}}'
    elif near := get_close_matches(name, free, n=3, cutoff=0):
        remedy = f"none is of its shape {shape}; nearest: {', '.join(f'{n} {shapes[n]}' for n in near)}; {WHOLE}"
    else:
        remedy = WHOLE
    if tensor.role is Role.CLASSIFIER:
        remedy += f"; it is the classifier: {OWN_CLASSIFIER}"
    return f"{name}: {what} has no such parameter; {remedy}"


def _other_shape(name: str, tensor: SignedTensor, here: str, shape: tuple[int, ...]) -> str:
    theirs = "the model" if here == name else f"the model's {here}"
    sentence = f"{name}: the ticket has shape {tuple(tensor.sign.shape)}, {theirs} {shape}"
    if tensor.role is Role.CLASSIFIER:
        classes = tensor.sign.shape[0]
        return f"{sentence}; it is the classifier, for {classes} classes in the ticket: {OWN_CLASSIFIER}"
    return f"{sentence}; {WHOLE}"


def _no_tensor(name: str, tensors: Collection[str], classifier: Collection[str]) -> str:
    sentence = f"{name}: the ticket has no such tensor{_nearest(name, tensors)}"
    if classifier:
        same = [other for other in classifier if other.rpartition(".")[2] == name.rpartition(".")[2]]
        old = (same or sorted(classifier))[0]
        return f'{sentence}; if it is the new classifier, say names={{"{old}": "{name}"}}'
    return f"{sentence}; {WHOLE}, or apply the ticket to the part of the model that is this network"


def _nearest(name: str, names: Collection[str]) -> str:
    near = get_close_matches(name, names, n=3)
    return f"; nearest: {', '.join(near)}" if near else ""
