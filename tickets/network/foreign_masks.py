"""Masks that other libraries have put into a network, beside its weights.

torch.nn.utils.prune has a buffer ``weight_mask`` and a parameter ``weight_orig``, whose product the layer uses. The
wrapper of open_lth has buffers such as ``mask_fc___weight``. TurboPrune has a buffer ``mask``, and the released code a
parameter ``fixed_m``, in each layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tickets.errors import TicketError

ORIGINAL = "_orig"  # torch.nn.utils.prune's ending of a pruned parameter's name


def foreign_masks(network: nn.Module) -> dict[str, str]:
    """The name of the masked parameter by the mask's name, for buffers and frozen parameters that are masks by name."""
    parameters = dict(network.named_parameters())
    frozen = {name: parameter for name, parameter in parameters.items() if not parameter.requires_grad}
    masked = {}
    for name, tensor in {**frozen, **dict(network.named_buffers())}.items():
        for candidate in _candidates(name):
            if candidate in parameters and candidate != name and parameters[candidate].shape == tensor.shape:
                masked[name] = candidate
                break
    return masked


def _candidates(name: str) -> list[str]:
    """Names that the parameter of a mask may have; none if the name is not a mask's."""
    layer, dot, leaf = name.rpartition(".")
    if "mask" not in leaf and leaf != "fixed_m":
        return []
    if ".parametrizations." in name:
        return [re.sub(r"\.\d+$", ".original", layer)]
    base = leaf.removeprefix("mask_").removesuffix("_mask").replace("___", ".")
    return [f"{layer}{dot}{each}" for each in (base + ORIGINAL, base, f"model.{base}", f"weight{ORIGINAL}", "weight")]


@torch.no_grad()
def take_redrawn_(network: nn.Module) -> None:
    """Copy fresh draws to the parameters that torch.nn.utils.prune masks: layers draw into the product it computed."""
    for name in set(foreign_masks(network).values()):
        if name.endswith(ORIGINAL):
            network.get_parameter(name).copy_(_attribute(network, name.removesuffix(ORIGINAL)))


def set_foreign_masks_(network: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set a network's foreign masks, in place, to a ticket's masks by parameter name; other parameters stay whole.

    Raises:
        TicketError: a mask prunes weights that the ticket keeps, or is no mask; the message names it.
    """
    for name, parameter_name in foreign_masks(network).items():
        foreign, parameter = _attribute(network, name), network.get_parameter(parameter_name)
        mask = masks.get(parameter_name, torch.ones_like(parameter, dtype=torch.bool)).to(parameter.device)
        remedy = "fill it with ones before apply, or build the network without it"
        if not bool(((foreign == 0) | (foreign == 1)).all()):
            raise TicketError(f"{name} masks {parameter_name} with values other than 0 and 1; {remedy}")
        if pruned := int(((foreign == 0) & mask).sum()):
            raise TicketError(
                f"{name} is the mask of another pruning: it prunes {pruned} weights of {parameter_name} that the "
                f"ticket keeps; {remedy}"
            )
        with torch.no_grad():
            foreign.copy_(mask)
        if parameter_name.endswith(ORIGINAL):
            layer, _, leaf = parameter_name.removesuffix(ORIGINAL).rpartition(".")
            setattr(network.get_submodule(layer), leaf, parameter * foreign)  # as each forward pass does


def _attribute(network: nn.Module, name: str) -> Tensor:
    layer, _, leaf = name.rpartition(".")
    tensor: Tensor = getattr(network.get_submodule(layer), leaf)
    return tensor
