"""Infer the roles of a state dict's parameters from names, shapes and masks, without the model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from tickets.errors import TicketError
from tickets.formats.format import NeedsHintError
from tickets.registry import unknown
from tickets.roles import Role

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
NO_CLASSIFIER = "none"


def split(name: str) -> tuple[str, str]:
    """Split a tensor's name into layer and last part; the layer is empty in a network of one layer."""
    layer, _, leaf = name.rpartition(".")
    return layer, leaf


def join(layer: str, leaf: str) -> str:
    """Join a layer and a last part to a tensor's name."""
    return f"{layer}.{leaf}" if layer else leaf


def infer_roles(
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
        shapes: shape of each parameter by name.
        normalized: layers with running statistics.
        masked: names of the weights that have a mask in the file.
        pruned: names of the parameters that have pruned elements.
        classifier: the layer's name, or "none"; None infers the layer.

    Raises:
        TicketError: a parameter is neither a weight nor a bias of a layer, or is pruned and no prunable weight.
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
                f"{name}: the method has rules only for weights and biases of convolutions, linear and normalization "
                f"layers; leave this parameter out of the state dict"
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
    if 0 < len(free) < len(layers):
        if len(free) > 1 and free[-1] != layers[-1]:
            raise NeedsHintError(f"{' or '.join(free)} may be the classifier; say --classifier NAME")
        return free[-1]
    return layers[-1] if layers and layers[-1] not in pruned else None
