"""Match a ticket's tensors with a network's parameters."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from tickets.errors import TicketError
from tickets.network.foreign_masks import ORIGINAL, foreign_masks
from tickets.roles import Role
from tickets.signed import SignedTensor

COMPILED = "_orig_mod"  # the layer that torch.compile adds
OWN_CLASSIFIER = 'to take none over say transfer=dataclasses.replace(tickets.SIGNED, classifier="fresh")'
WHOLE = "build the network that the ticket was made for (ticket.provenance names it)"


def unwrapped(model: nn.Module) -> nn.Module:
    """The network below the wrappers of DistributedDataParallel and torch.compile; TicketError for no Module."""
    if not isinstance(model, nn.Module):
        raise TicketError(
            f"a ticket applies to a torch.nn.Module, not to a {type(model).__name__}; load a state dict into its "
            f"network and give the network"
        )
    while True:
        if isinstance(model, (DataParallel, DistributedDataParallel)):
            model = model.module
        elif COMPILED in model._modules:
            model = model.get_submodule(COMPILED)
        else:
            return model


def counterparts(
    tensors: Mapping[str, SignedTensor],
    network: nn.Module,
    names: Mapping[str, str] | None = None,
    *,
    own_classifier: bool = False,
) -> dict[str, str]:
    """The network's parameter name of each tensor of a ticket.

    Args:
        network: without wrappers, though ``torch.compile`` may wrap parts of it. Masks in it (``foreign_masks``) are no
            parameters, and a parameter that torch.nn.utils.prune has renamed matches its usual name.
        names: the network's name of tensors whose names differ; other tensors have the same name in both.
        own_classifier: the network's classifier may have another shape than the ticket's, or be missing.

    Raises:
        TicketError: a tensor has no parameter or one of another shape, or a parameter has no tensor; the message has
            the first such name and the nearest names.
    """
    names = names or {}
    masked = foreign_masks(network)
    shapes = {name: tuple(each.shape) for name, each in network.named_parameters() if name not in masked}
    usual_names = {name: name.removesuffix(ORIGINAL) if name in masked.values() else name for name in shapes}
    parameter_of = _matched(tensors, usual_names, names)
    optional = {name for name, tensor in tensors.items() if own_classifier and tensor.role is Role.CLASSIFIER}
    new_layers = tuple(f"{_layer(parameter_of[name])}." for name in optional if name in parameter_of)
    missing = [name for name in tensors if name not in parameter_of and name not in optional]
    taken = set(parameter_of.values())
    free = [name for name in shapes if name not in taken and not name.startswith(new_layers)]
    _refuse_a_prefix(missing, free, tensors)
    for name, tensor in tensors.items():
        if name in missing:
            raise TicketError(_no_parameter(name, names, tensor, free, shapes))
        if name not in optional and shapes[parameter_of[name]] != tuple(tensor.sign.shape):
            raise TicketError(_other_shape(name, tensor, parameter_of[name], shapes[parameter_of[name]]))
    if free:
        raise TicketError(_no_tensor(free[0], tensors, optional - parameter_of.keys()))
    return parameter_of


def renamed(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """A state dict under a network's names; a buffer is renamed as the parameters of its layer are."""
    layers = {_layer(old): _layer(new) for old, new in names.items()}

    def new(name: str) -> str:
        layer, leaf = _layer(name), name.rpartition(".")[2]
        return names.get(name) or ".".join(filter(None, (layers.get(layer, layer), leaf)))

    return {new(name): tensor for name, tensor in state.items()}


def _matched(tensors: Collection[str], usual_names: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    for name in names:
        if name not in tensors:
            raise TicketError(
                f"{name}: the keys of names are names in the ticket, and the ticket lacks this one"
                f"{_nearest(name, tensors)}"
            )
    parameters = {_plain(usual): name for name, usual in usual_names.items()} | {name: name for name in usual_names}
    parameter_of: dict[str, str] = {}
    tensor_of: dict[str, str] = {}
    for name in tensors:
        model_name = names.get(name, name)
        parameter = parameters.get(model_name) or parameters.get(_plain(model_name))
        if parameter is None:
            continue
        if parameter in tensor_of:
            raise TicketError(
                f"{name} and {tensor_of[parameter]} both match the model's {parameter}; say which one in names"
            )
        tensor_of[parameter] = name
        parameter_of[name] = parameter
    return parameter_of


def _plain(name: str) -> str:
    """A parameter's name without the parts that torch.compile and DistributedDataParallel add."""
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
    """The prefix that makes every short name a long one; None if there is no such prefix."""
    if not short:
        return None
    candidates = (name.removesuffix(short[0]) for name in long if name.endswith(f".{short[0]}"))
    return next((prefix for prefix in candidates if {prefix + name for name in short} <= set(long)), None)


def _no_parameter(
    name: str, names: Mapping[str, str], tensor: SignedTensor, free: list[str], shapes: Mapping[str, tuple[int, ...]]
) -> str:
    subject = f"names calls it {names[name]}, and the model" if name in names else "the model"
    shape = tuple(tensor.sign.shape)
    alike = [other for other in free if shapes[other] == shape]
    if near := get_close_matches(name, alike, n=3, cutoff=0):
        remedy = f'of the same shape: {", ".join(near)}; if one of these is meant, say names={{"{name}": "{near[0]}"}}'
    elif near := get_close_matches(name, free, n=3, cutoff=0):
        remedy = f"none has its shape {shape}; nearest: {', '.join(f'{n} {shapes[n]}' for n in near)}; {WHOLE}"
    else:
        remedy = WHOLE
    if tensor.role is Role.CLASSIFIER:
        remedy += f"; it is the classifier: {OWN_CLASSIFIER}"
    return f"{name}: {subject} has no such parameter; {remedy}"


def _other_shape(name: str, tensor: SignedTensor, parameter: str, shape: tuple[int, ...]) -> str:
    subject = "the model" if parameter == name else f"the model's {parameter}"
    sentence = f"{name}: the ticket has shape {tuple(tensor.sign.shape)}, {subject} {shape}"
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
