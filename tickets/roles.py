"""The role of each parameter of a network in the method.

The rules are the pruning scope of the paper's released code: every convolution and linear layer is pruned except the
classifier; biases and normalization parameters (psi) are never pruned.
"""

from __future__ import annotations

from enum import StrEnum

from torch import nn

MASKED_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
NORMALIZATION_LAYERS = (*BATCH_NORM, nn.LayerNorm, nn.GroupNorm)


class Role(StrEnum):
    """A parameter's role: whether it may be pruned, and how a transfer starts it."""

    PRUNABLE = "prunable"
    CLASSIFIER = "classifier"
    BIAS = "bias"
    NORMALIZATION = "normalization"


class UnknownLayerError(ValueError):
    """The method has no rule for a layer's parameters."""


def classifier_name(model: nn.Module, num_classes: int) -> str:
    """Name of the classifier: the last layer with ``num_classes`` outputs; UnknownLayerError if there is none.

    An earlier layer of the same width stays prunable.
    """
    wide = [
        name
        for name, module in model.named_modules()
        if isinstance(module, MASKED_LAYERS) and module.weight.shape[0] == num_classes
    ]
    if not wide:
        raise UnknownLayerError(
            f"no convolution or linear layer of {type(model).__name__} has {num_classes} outputs, so it has no "
            f"classifier; give the last layer one output per class"
        )
    return wide[-1]


def parameter_roles(model: nn.Module, num_classes: int) -> dict[str, Role]:
    """Role of each parameter by name, in the order of ``model.named_parameters()``.

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
