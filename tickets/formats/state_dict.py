"""Read and write signed masks in state dicts, whose formats differ in the names of masks.

The roles of the parameters are inferred from names, shapes and masks, without the model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from tickets.errors import TicketError
from tickets.formats.format import UNKNOWN, Hints
from tickets.formats.source import NeedsHintError, Source
from tickets.registry import unknown
from tickets.roles import Role, role_outside_layers
from tickets.signed import SignedTensor
from tickets.ticket import Provenance, Ticket

WITHOUT_MAGNITUDES = "on writing, magnitudes are 1 and running statistics those of a fresh batch norm"
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
NO_CLASSIFIER = "none"


def split(name: str) -> tuple[str, str]:
    """Split a tensor's name into layer and last part; the layer is empty in a network of one layer."""
    layer, _, leaf = name.rpartition(".")
    return layer, leaf


def join(layer: str, leaf: str) -> str:
    """Join a layer and a last part to a tensor's name."""
    return f"{layer}.{leaf}" if layer else leaf


def is_weight(name: str) -> bool:
    """Whether a parameter is a weight by its name: of a layer, or of attention's projections."""
    return split(name)[1] == "weight" or _outside(name) is Role.PRUNABLE


def _outside(name: str) -> Role | None:
    return role_outside_layers(split(name)[1])


@dataclass(frozen=True)
class Naming:
    """How a state dict names masks.

    Attributes:
        mask: last part of a mask's name. ``{}`` stands for the parameter's last part; without it, only weights have
            masks.
        parameter: last part of a masked parameter's name; ``{}`` stands for the usual one.
        masked: roles whose weights have a mask.
    """

    mask: str
    parameter: str = "{}"
    masked: Collection[Role] = (Role.PRUNABLE,)

    def mask_of(self, name: str) -> str | None:
        """The name of a parameter's mask."""
        layer, leaf = split(name)
        return join(layer, self.mask.format(leaf)) if leaf == "weight" or "{}" in self.mask else None

    def masked_name(self, name: str) -> str:
        """The name of a parameter that has a mask."""
        layer, leaf = split(name)
        return join(layer, self.parameter.format(leaf))


def read_state(tensors: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None, hints: Hints, path: Path) -> Ticket:
    """Make a ticket of weights and masks, both under the parameters' usual names.

    Args:
        tensors: parameters and running statistics; the latter identify normalization layers.
        masks: tensors of 0 and 1; None if a weight is pruned exactly when it is 0.
        path: the file, for messages.

    Raises:
        TicketError: roles cannot be inferred, or a tensor is no mask or no weight; the message names file and tensor.
    """
    parameters = {name: tensor for name, tensor in tensors.items() if split(name)[1] not in STATISTICS}
    normalized = {split(name)[0] for name in tensors if split(name)[1] in STATISTICS}
    try:
        signs = {name: _sign(name, tensor) for name, tensor in parameters.items()}
        if masks is None:
            kept = {name: sign != 0 for name, sign in signs.items() if sign.dim() > 1 and not _outside(name)}
            kept |= {name: signs[name] != 0 for name in signs if _outside(name) is Role.PRUNABLE}
        else:
            kept = {name: _mask(name, mask, signs) for name, mask in masks.items()}
        roles = _infer_roles(
            {name: tuple(sign.shape) for name, sign in signs.items()},
            normalized,
            masked=() if masks is None else kept,
            pruned=[name for name, mask in kept.items() if not mask.all()],
            classifier=hints.classifier,
        )
    except TicketError as error:
        raise type(error)(f"{path}: {error}") from error
    whole = {name: torch.ones_like(sign, dtype=torch.bool) for name, sign in signs.items()}
    kept = {**whole, **kept}
    signed = {name: SignedTensor(role, signs[name] * kept[name], kept[name]) for name, role in roles.items()}
    provenance = Provenance(UNKNOWN, UNKNOWN, UNKNOWN, None, 0.0, UNKNOWN, UNKNOWN)
    ticket = Ticket(signed, provenance)
    return replace(ticket, provenance=replace(provenance, density=ticket.density)) if ticket.masks else ticket


def has_masks(source: Source, naming: Naming) -> bool:
    """Whether a file has a mask under its name."""
    return bool(_split_state(source.tensors, naming)[1])


def read_masked(
    naming: Naming, source: Source, hints: Hints, *, convert: Callable[[Tensor], Tensor] = lambda tensor: tensor
) -> Ticket:
    """Make a ticket of a file with masks, by ``read_state``; ``convert`` gives each tensor its parameter's shape."""
    tensors = {name: convert(tensor) for name, tensor in source.tensors.items()}
    return read_state(*_split_state(tensors, naming), hints, source.path)


def trained_values(
    naming: Naming, source: Source, *, convert: Callable[[Tensor], Tensor] = lambda tensor: tensor
) -> dict[str, Tensor]:
    """Read the parameters and running statistics of a file with masks; ``convert`` as in ``read_masked``."""
    return _split_state({name: convert(tensor) for name, tensor in source.tensors.items()}, naming)[0]


def _split_state(tensors: Mapping[str, Tensor], naming: Naming) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split a state dict into parameters (with statistics) and masks, both under the parameters' usual names."""
    masks, parameters = {}, {}
    bare = naming.parameter.replace("{}", "")
    for name, tensor in tensors.items():
        usual = name.removesuffix(bare)
        if usual != name or not bare:
            mask = naming.mask_of(usual)
            if mask is not None and mask in tensors:
                masks[usual] = tensors[mask]
                parameters[usual] = tensor
                continue
        parameters[name] = tensor
    used = {naming.mask_of(name) for name in masks}
    return {name: tensor for name, tensor in parameters.items() if name not in used}, masks


def normalization_layers(ticket: Ticket, *, batch_norms: bool = False) -> list[str]:
    """The normalization layers that have a weight.

    Args:
        batch_norms: only those that look like batch norms, directly after a convolution with as many outputs. A ticket
            does not tell, but only batch norms have running statistics.
    """
    layers, channels = [], 0
    for name, tensor in ticket.tensors.items():
        layer, leaf = split(name)
        if leaf != "weight":
            continue
        if tensor.role is not Role.NORMALIZATION:
            channels = tensor.sign.shape[0] if tensor.sign.dim() > 2 else 0
            continue
        if not batch_norms or tensor.sign.shape == (channels,):
            layers.append(layer)
        channels = 0
    return layers


def signs_as_weights(ticket: Ticket, with_statistics: Collection[str]) -> dict[str, Tensor]:
    """A state dict with the signs as weights, and a fresh batch norm's running statistics for the named layers.

    The weights are -1, 0 and 1 in float32, since a ticket has no magnitudes.
    """
    state = {name: tensor.sign.float() for name, tensor in ticket.tensors.items()}
    for layer in with_statistics:
        mean = torch.zeros(ticket.tensors[join(layer, "weight")].sign.shape)
        fresh = dict(zip(STATISTICS, (mean, mean + 1, torch.tensor(0)), strict=True))
        state |= {join(layer, leaf): value for leaf, value in fresh.items()}
    return state


def write_state(ticket: Ticket, with_statistics: Collection[str], naming: Naming) -> dict[str, Tensor]:
    """``signs_as_weights`` with the masks; TicketError if two tensors would have one name."""
    state: dict[str, Tensor] = {}
    for name, weight in signs_as_weights(ticket, with_statistics).items():
        tensor, mask = ticket.tensors.get(name), naming.mask_of(name)
        new = {name: weight}
        if tensor and mask is not None and tensor.role in naming.masked and is_weight(name):
            new = {naming.masked_name(name): weight, mask: tensor.mask.float()}
        for key, value in new.items():
            if key in state:
                raise TicketError(f"{key}: two tensors would have this name")
            state[key] = value
    return state


def _sign(name: str, tensor: Tensor) -> Tensor:
    if tensor.is_complex() or bool(torch.isnan(tensor).any()):
        raise TicketError(f"{name}: the weights are complex or NaN; save real numbers")
    return torch.sign(tensor).to(torch.int8)


def _mask(name: str, mask: Tensor, signs: Mapping[str, Tensor]) -> Tensor:
    if name not in signs:
        raise TicketError(f"{name}: the file has a mask of this weight, but not the weight")
    if mask.shape != signs[name].shape:
        raise TicketError(f"{name}: its mask has shape {tuple(mask.shape)}, its weight {tuple(signs[name].shape)}")
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise TicketError(f"{name}: its mask holds values other than 0 and 1")
    return mask.bool()


def _infer_roles(
    shapes: Mapping[str, Sequence[int]],
    normalized: Collection[str],
    masked: Collection[str],
    pruned: Collection[str],
    classifier: str | None = None,
) -> dict[str, Role]:
    """Roles by name, in the order of a network's parameters: a layer's weight before its bias.

    A layer with running statistics, or with a weight of at most one dimension, is a normalization. If some of the other
    weights have masks, the classifier is the one without. Otherwise the last weight is the classifier, unless it is
    pruned: then there is none.

    Args:
        normalized: layers with running statistics.
        masked, pruned: names of the weights with a mask in the file, and of the parameters with pruned elements.
        classifier: the layer's name, or "none"; None infers the layer.
    """
    layers: dict[str, set[str]] = {}
    for name in shapes:
        layer, leaf = split(name)
        layers.setdefault(layer, set()).add(leaf)
    for name in shapes:
        layer, leaf = split(name)
        if not _outside(name) and (leaf not in ("weight", "bias") or "weight" not in layers[layer]):
            raise TicketError(
                f"{name}: the method has no rule for a parameter of this name, but for weights and biases of "
                f"convolutions, linear and normalization layers, for attention and for position embeddings; leave this "
                f"parameter out of the state dict"
            )
    plain = [layer for layer in layers if "weight" in layers[layer]]
    norms = {layer for layer in plain if layer in normalized or len(shapes[join(layer, "weight")]) <= 1}
    weights = [layer for layer in plain if layer not in norms]
    head = _classifier(weights, {split(n)[0] for n in masked}, {split(n)[0] for n in pruned}, classifier)
    roles = {}
    for layer, leaves in layers.items():
        for leaf in sorted(leaves, reverse=True):
            if outside := _outside(leaf):
                role = outside
            elif layer in norms:
                role = Role.NORMALIZATION
            elif layer == head:
                role = Role.CLASSIFIER
            else:
                role = Role.PRUNABLE if leaf == "weight" else Role.BIAS
            roles[join(layer, leaf)] = role
    for name in pruned:
        if roles[name] is not Role.PRUNABLE:
            raise TicketError(f"{name}: a {roles[name]} parameter is pruned, but only weights may be; keep it whole")
    return roles


def _classifier(
    layers: Sequence[str], masked: Collection[str], pruned: Collection[str], named: str | None
) -> str | None:
    if named == NO_CLASSIFIER:
        return None
    if named is not None:
        named = named if named in layers else named.removesuffix(".weight")
        if named not in layers:
            raise TicketError(unknown("classifier", named, layers))
        if named in pruned:
            raise TicketError(f"{named}: its weight is pruned, so the layer is no classifier; say --classifier none")
        return named
    free = [layer for layer in layers if layer not in masked]
    if 0 < len(free) < len(layers) and free[-1] != layers[-1]:
        raise NeedsHintError(
            f"{' or '.join(free)} may be the classifier, and {layers[-1]} is the last layer; say --classifier NAME"
        )
    return layers[-1] if layers and layers[-1] not in pruned else None
