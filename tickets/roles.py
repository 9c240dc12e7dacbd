"""Which part every parameter of a network plays in the method.

The rules are the paper's pruning scope as its released code has it: every convolution and every linear
layer is pruned except the classifier; biases and normalization parameters (psi) never are.
"""

from __future__ import annotations

from enum import StrEnum

from torch import nn

MASKED_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
NORMALIZATION_LAYERS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
)


class Role(StrEnum):
    """The part a parameter plays: what may prune it, and what a transfer does with it."""

    PRUNABLE = "prunable"
    CLASSIFIER = "classifier"
    BIAS = "bias"
    NORMALIZATION = "normalization"


class UnknownLayerError(ValueError):
    """A layer holds parameters, and the method does not say what to do with them."""


def classifier_name(model: nn.Module, num_classes: int) -> str:
    """Name of the classifier: the last layer whose output width is the number of classes.

    Only the last one counts: an inner layer that happens to be as wide stays prunable.

    Raises:
        UnknownLayerError: no layer has that output width.
    """
    found = None
    for name, module in model.named_modules():
        if isinstance(module, MASKED_LAYERS) and module.weight.shape[0] == num_classes:
            found = name
    if found is None:
        raise UnknownLayerError(
            f"no convolution or linear layer of {type(model).__name__} has {num_classes} outputs, so it has no "
            f"classifier; give the last layer one output per class"
        )
    return found


def parameter_roles(model: nn.Module, num_classes: int) -> dict[str, Role]:
    """Role of every parameter, by its name, in the order of ``model.named_parameters()``.

    Raises:
        UnknownLayerError: the network has no classifier, or a layer of an unknown type has parameters.
    """
    classifier = classifier_name(model, num_classes)
    roles: dict[str, Role] = {}
    for layer, module in model.named_modules():
        for leaf, _ in module.named_parameters(recurse=False):
            name = f"{layer}.{leaf}" if layer else leaf
            if layer == classifier:
                roles[name] = Role.CLASSIFIER
            elif isinstance(module, NORMALIZATION_LAYERS):
                roles[name] = Role.NORMALIZATION
            elif isinstance(module, MASKED_LAYERS):
                roles[name] = Role.PRUNABLE if leaf == "weight" else Role.BIAS
            else:
                raise UnknownLayerError(
                    f"{name}: the method has no rule for the parameters of a {type(module).__name__}; "
                    f"build the network from convolutions, linear and normalization layers"
                )
    return {name: roles[name] for name, _ in model.named_parameters() if name in roles}


def prunable_names(model: nn.Module, num_classes: int) -> list[str]:
    """Names of the prunable weights, in the order of ``model.named_parameters()``."""
    return [name for name, role in parameter_roles(model, num_classes).items() if role is Role.PRUNABLE]


BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
