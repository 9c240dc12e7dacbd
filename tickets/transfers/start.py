"""Start a network as a transfer describes: combine fresh values, a ticket and other networks' values."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tickets.errors import TicketError
from tickets.network.fit import counterparts, unwrapped
from tickets.network.foreign_masks import foreign_masks, set_foreign_masks_
from tickets.registry import UnknownNameError
from tickets.roles import Role, is_normalization
from tickets.signed import SignedTensor
from tickets.transfers.transfer import PERMUTED, SIGN_SOURCES, Origin, SignedWeight, Transfer, named_source


@torch.no_grad()
def transfer_(
    model: nn.Module,
    transfer: Transfer,
    signed: Mapping[str, SignedTensor] | None,
    trained: Mapping[str, Tensor] | None,
    generator: torch.Generator,
    others: Mapping[str, Origin] | None = None,
) -> dict[str, Tensor]:
    """Turn a freshly initialised model, in place, into the start that a transfer describes.

    Args:
        model: a fresh initialisation.
        signed: the ticket's signs and masks by the model's names; None for a dense start only.
        trained: state dict of the ticket's round, for parts whose source is "trained".
        generator: CPU generator for random, shuffled and flipped signs.
        others: networks by the names in ``transfer.others``.

    If the classifier is fresh, the model's may have any shape: it is another data set's.

    Returns:
        Boolean mask of each prunable weight; empty for a dense start.

    Raises:
        TicketError: the ticket does not fit the model, a source is missing or does not fit, or a mask in the model
            prunes weights that the ticket keeps. Parts of the model may have changed by then.
    """
    if not transfer.needs_ticket:
        return {}
    if signed is None:
        raise TicketError("this transfer takes signs or masks from a ticket; give one")
    counterparts(signed, unwrapped(model), own_classifier=transfer.classifier == "fresh")
    origins = {**(others or {}), **({} if trained is None else {"trained": Origin(trained)})}
    if missing := [name for name in transfer.others if name not in origins]:
        raise TicketError(f"this transfer takes values from {' and '.join(missing)}; give them in others")
    if transfer.matched:
        permuted = origins[PERMUTED]
        if permuted.signed is None:
            raise TicketError("this transfer takes a permuted ticket; give its signs and masks in others")
        signed, origins["trained"] = permuted.signed, permuted
    if transfer.psi_shift:
        _shift_psi_(model, transfer.psi_shift)

    dense_source = {
        Role.NORMALIZATION: transfer.psi,
        Role.CLASSIFIER: transfer.classifier,
        Role.BIAS: transfer.biases,
        Role.EMBEDDING: transfer.embeddings_source,
        Role.SCALE: transfer.embeddings_source,
    }
    masks: dict[str, Tensor] = {}
    foreign = foreign_masks(model)
    for name, parameter in model.named_parameters():
        if name in foreign or name not in signed:  # the ticket of another data set may lack a part of the classifier
            continue
        tensor = signed[name]
        if tensor.role is Role.PRUNABLE:
            magnitude = _values(transfer.magnitudes, name, parameter, origins)
            sign, masks[name] = _signs_and_mask(name, parameter, tensor, transfer, generator, origins)
            parameter.copy_(magnitude.abs() * sign.to(parameter) * masks[name])
        elif dense_source[tensor.role] == "signed":
            parameter.copy_(parameter.abs() * tensor.sign.to(parameter))
        else:
            parameter.copy_(_values(dense_source[tensor.role], name, parameter, origins))
    kept = model.state_dict(keep_vars=True)
    for name, buffer in model.named_buffers():
        if name not in foreign and name in kept:  # others, such as tables of positions, are constants of the class
            buffer.copy_(_values(transfer.statistics, name, buffer, origins))
    set_foreign_masks_(model, masks)
    return masks


def _shift_psi_(model: nn.Module, shift: float) -> None:
    for module in model.modules():
        bias = getattr(module, "bias", None)
        if is_normalization(module) and isinstance(bias, Tensor):
            bias.fill_(shift)


def _signs_and_mask(
    name: str,
    fresh: Tensor,
    signed: SignedTensor,
    transfer: Transfer,
    generator: torch.Generator,
    origins: Mapping[str, Origin],
) -> tuple[Tensor, Tensor]:
    # draws come from the CPU, where they are the same for every device; the rest happens on the model's device
    device = fresh.device
    sign, mask = signed.sign.to(device), signed.mask.to(device)
    if transfer.mask == "shuffled":
        order = torch.randperm(sign.numel(), generator=generator).to(device)
        sign, mask = sign.flatten()[order].view_as(sign), mask.flatten()[order].view_as(mask)
    elif transfer.mask not in ("ticket", PERMUTED):
        mask = _mask_of(transfer.mask, name, fresh, origins).to(device)
    if named_source(transfer.signs):
        sign = _values(transfer.signs, name, fresh, origins).sign().to(torch.int8)
    elif transfer.signs == "fresh":
        sign = fresh.sign().to(torch.int8)
    elif transfer.signs != "ticket":
        sign = _registered_signs(transfer, SignedWeight(fresh, sign, mask), generator)
    if transfer.takes_other_rounds_signs:
        sign = torch.where(sign == 0, fresh.sign().to(torch.int8), sign)
    if transfer.flip_fraction:
        sign = _flipped(sign, mask, transfer.flip_fraction, generator)
    return sign, mask


def _flipped(sign: Tensor, mask: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    alive = mask.flatten().nonzero().squeeze(1)
    order = alive[torch.randperm(len(alive), generator=generator).to(sign.device)]
    flat = sign.flatten().clone()
    flat[order[: round(fraction * len(alive))]] *= -1
    return flat.view_as(sign)


def _registered_signs(transfer: Transfer, weight: SignedWeight, generator: torch.Generator) -> Tensor:
    try:
        rule = SIGN_SOURCES.find(transfer.signs, transfer.signs_version).function
    except UnknownNameError as error:
        raise TicketError(str(error)) from error
    signs = rule(weight, generator)
    if signs.dtype != torch.int8 or signs.shape != weight.sign.shape or not torch.equal(signs, signs.clamp(-1, 1)):
        raise TicketError(
            f"the sign source {transfer.signs} gives {signs.dtype} of shape {tuple(signs.shape)}; return int8 of -1, 0 "
            f"and 1, of shape {tuple(weight.sign.shape)}"
        )
    return signs


def _values(source: str, name: str, fresh: Tensor, origins: Mapping[str, Origin]) -> Tensor:
    if source == "fresh":
        return fresh
    if source not in origins or name not in origins[source].state:
        raise TicketError(f"{name}: this transfer keeps {source} values; give the {source} state dict with this tensor")
    value = origins[source].state[name]
    _check_shape(name, source, value, fresh)
    return value.to(fresh)


def _mask_of(source: str, name: str, fresh: Tensor, origins: Mapping[str, Origin]) -> Tensor:
    signed = origins[source].signed
    if signed is None or name not in signed:
        raise TicketError(f"{name}: this transfer takes its mask from {source}, which has no ticket")
    mask = signed[name].mask
    _check_shape(name, source, mask, fresh)
    return mask


def _check_shape(name: str, source: str, value: Tensor, fresh: Tensor) -> None:
    if value.shape != fresh.shape:
        raise TicketError(
            f"{name}: the {source} tensor has shape {tuple(value.shape)}, the model's {tuple(fresh.shape)}"
        )
