"""The role of each parameter of a state dict, where there is no model to ask: told by names, shapes and masks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

from tickets.errors import TicketError
from tickets.formats.format import NeedsHintError
from tickets.roles import Role

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
NO_CLASSIFIER = "none"


def split(name: str) -> tuple[str, str]:
    """The layer and the last part of a tensor's name; the layer of a network of one layer is empty."""
    layer, _, leaf = name.rpartition(".")
    return layer, leaf


def join(layer: str, leaf: str) -> str:
    """A tensor's name."""
    return f"{layer}.{leaf}" if layer else leaf


def infer_roles(
    shapes: Mapping[str, Sequence[int]],
    normalized: Collection[str],
    masked: Collection[str],
    pruned: Collection[str],
    classifier: str | None = None,
) -> dict[str, Role]:
    """Roles by name, in the order of a network's parameters: a layer's weight before its bias.

    A layer with running statistics or a weight of at most one dimension is a normalization. Of the other weights, the
    classifier is the only one without a mask, if some have one; else the last, unless it is pruned: then there is none.

    Args:
        shapes: of every parameter.
        normalized: layers with running statistics.
        masked: weights for which the file has a mask, if its format has masks.
        pruned: weights of which some are gone.
        classifier: the layer's name, or "none".

    Raises:
        TicketError: a parameter is neither a weight nor a bias of a layer, or a pruned one is no weight.
        NeedsHintError: several layers may be the classifier.
    """
    layers: dict[str, set[str]] = {}
    for name in shapes:
        layer, leaf = split(name)
        layers.setdefault(layer, set()).add(leaf)
    for name in shapes:
        layer, leaf = split(name)
        if leaf not in ("weight", "bias") or "weight" not in layers[layer]:
            raise TicketError(
                f"{name}: the method has rules for the weight and the bias of convolutions, linear and normalization "
                f"layers, and this is neither; leave it out of the state dict"
            )
    norms = {layer for layer in layers if layer in normalized or len(shapes[join(layer, "weight")]) <= 1}
    weights = [layer for layer in layers if layer not in norms]
    head = _classifier(weights, {split(n)[0] for n in masked}, {split(n)[0] for n in pruned}, classifier)
    roles = {}
    for layer, leaves in layers.items():
        for leaf in sorted(leaves, reverse=True):
            if layer in norms:
                role = Role.NORMALIZATION
            elif layer == head:
                role = Role.CLASSIFIER
            else:
                role = Role.PRUNABLE if leaf == "weight" else Role.BIAS
            roles[join(layer, leaf)] = role
    for name in pruned:
        if roles[name] is not Role.PRUNABLE:
            raise TicketError(f"{name}: it is pruned, and of a ticket's parameters only weights are; keep it whole")
    return roles


def _classifier(
    layers: Sequence[str], masked: Collection[str], pruned: Collection[str], named: str | None
) -> str | None:
    if named == NO_CLASSIFIER:
        return None
    if named is not None:
        named = named if named in layers else named.removesuffix(".weight")
        if named not in layers:
            near = get_close_matches(named, layers, n=3)
            raise TicketError(
                f"{named}: there is no such layer to be the classifier"
                + (f"; nearest: {', '.join(near)}" if near else "")
            )
        if named in pruned:
            raise TicketError(f"{named}: its weight is pruned, so it is no classifier; say --classifier none")
        return named
    free = [layer for layer in layers if layer not in masked]
    if 0 < len(free) < len(layers):
        if len(free) > 1 and free[-1] != layers[-1]:
            raise NeedsHintError(f"which of {', '.join(free)} is the classifier cannot be told; say --classifier NAME")
        return free[-1]
    return layers[-1] if layers and layers[-1] not in pruned else None
