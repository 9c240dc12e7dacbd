"""The role of each parameter of a network in the method.

The rules are the pruning scope of the paper's released code: every convolution and linear layer is pruned except the
classifier; biases and normalization parameters (psi) are never pruned. Ours, for networks that the paper does not have:
attention's projections are linear layers, whatever they are called; class tokens, position embeddings and layer scales
are no weight matrices between activations, and are never pruned.
"""

from __future__ import annotations

import re
from enum import StrEnum

from torch import nn

MASKED_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
NORMALIZATION_LAYERS = (*BATCH_NORM, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
OUTSIDE_LAYERS = {
    # of torch.nn.MultiheadAttention, and of BEiT's attention
    r"(in|q|k|v)_proj_weight": "prunable",
    r"in_proj_bias|bias_[kv]|[qkv]_bias": "bias",
    r"(cls|class|dist|reg|register)_tokens?(_?\d+)?|pos_embed(ding)?(_\w+)?|position_embeddings?(_table)?": "embedding",
    r"relative_position_bias_table|attention_biases|rel_pos_[hw]": "embedding",
    r"gamma_\w+|ls\d|layer_scale(_\d)?|skipinit_gain": "scale",
}
"""Roles of parameters that no convolution, linear or normalization layer holds, by pattern of the name's last part."""


class Role(StrEnum):
    """A parameter's role: whether it may be pruned, and how a transfer starts it."""

    PRUNABLE = "prunable"
    CLASSIFIER = "classifier"
    BIAS = "bias"
    NORMALIZATION = "normalization"
    EMBEDDING = "embedding"
    SCALE = "scale"

    @classmethod
    def _missing_(cls, value: object) -> None:
        known = ", ".join(cls)
        raise ValueError(f"{value!r} is none of the roles {known}; read the ticket with the version that wrote it")


WHY_DENSE = {
    Role.CLASSIFIER: "the last layer, one output per class",
    Role.BIAS: "shifts of convolutions and linear layers",
    Role.NORMALIZATION: "psi, the scales and shifts of normalization layers",
    Role.EMBEDDING: "class tokens and position embeddings, which weigh no input",
    Role.SCALE: "layer scales, one factor per channel of a branch",
}
"""Why parameters of a role are never pruned."""


class UnknownLayerError(ValueError):
    """The method has no rule for a layer's parameters."""


def is_normalization(module: nn.Module) -> bool:
    """Whether a layer's parameters are psi: one of torch's, or one with LayerNorm's ``normalized_shape`` and names."""
    if isinstance(module, NORMALIZATION_LAYERS):
        return True
    leaves = {leaf for leaf, _ in module.named_parameters(recurse=False)}
    return hasattr(module, "normalized_shape") and leaves <= {"weight", "bias"}


def role_outside_layers(leaf: str) -> Role | None:
    """Role by the last part of a parameter's name, if it is attention's projection, an embedding or a layer scale."""
    return next((Role(role) for pattern, role in OUTSIDE_LAYERS.items() if re.fullmatch(pattern, leaf)), None)


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
            role = Role.CLASSIFIER if layer == classifier else _role(module, leaf)
            if role is None:
                raise UnknownLayerError(
                    f"{name}: the method has no rule for this parameter of a {type(module).__name__}; "
                    f"build the network from convolutions, linear and normalization layers and attention"
                )
            roles[name] = role
    return {name: roles[name] for name, _ in model.named_parameters() if name in roles}


def _role(module: nn.Module, leaf: str) -> Role | None:
    if is_normalization(module):
        return Role.NORMALIZATION
    if isinstance(module, MASKED_LAYERS):
        return {"weight": Role.PRUNABLE, "bias": Role.BIAS}.get(leaf)
    # a leaf layer's gamma may be the scale of a normalization of the user's own
    if leaf == "gamma" and ("LayerScale" in type(module).__name__ or next(module.children(), None) is not None):
        return Role.SCALE
    return role_outside_layers(leaf)


def prunable_names(model: nn.Module, num_classes: int) -> list[str]:
    """Names of the prunable weights, in the order of ``model.named_parameters()``."""
    return [name for name, role in parameter_roles(model, num_classes).items() if role is Role.PRUNABLE]
