"""Transfers as data: the source of each part of a network's start.

A start combines a fresh initialisation, a ticket and, for some transfers, weights of the ticket's round, of other
rounds or of other initialisations. Paper, section 4 and figures 2 and 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tickets.errors import TicketError
from tickets.network.fit import counterparts
from tickets.network.wrappers import unwrapped
from tickets.registry import UnknownNameError
from tickets.roles import NORMALIZATION_LAYERS, Role
from tickets.signed import SignedTensor
from tickets.transfers.sources import SIGN_SOURCES, Origin, SignedWeight, named_source


@dataclass(frozen=True)
class Transfer:
    """The source of each part of a start.

    The mask may also be a round's, such as "round_3"; every other part may also name a source of
    ``tickets.transfers.sources``: "round_3", "epoch_0" or "init_2".

    Attributes:
        mask: "none" (a dense start, all parts fresh), "ticket", or "shuffled" (the ticket's mask and signs, permuted
            within each layer).
        signs: of the prunable weights: "fresh", "ticket", or a registered sign source such as "random". If the signs
            are another round's, survivors that this round has pruned take their fresh sign.
        magnitudes: of the prunable weights: "fresh" or "trained". Not a round's under a shuffled mask, since pruned
            weights are zero there.
        psi, classifier, biases: "fresh", "signed" (fresh magnitude with the trained sign), or "trained".
        statistics: running statistics of batch norm: "fresh" or "trained".
        psi_shift: initial shift of psi. 0 keeps the network's own; figure 5 uses 0.1 so that shifts have signs.
        flip_fraction: fraction of the surviving signs to flip afterwards, as a control.
        signs_version: version of a registered sign source. It becomes 2 if the signs are another round's than the
            mask's. (In version 1, survivors without a sign in that round started at zero.)

    Raises:
        ValueError: a part cannot come from the source that it names.
    """

    mask: str = "ticket"
    signs: str = "fresh"
    magnitudes: str = "fresh"
    psi: str = "fresh"
    classifier: str = "fresh"
    biases: str = "fresh"
    statistics: str = "fresh"
    psi_shift: float = 0.0
    flip_fraction: float = 0.0
    signs_version: int = 1

    def __post_init__(self) -> None:
        if self.mask == "none" and any(source != "fresh" for source in self._sources().values()):
            raise ValueError("a transfer without a mask is a dense start: leave every part fresh")
        if self.mask == "none" and self.flip_fraction:
            raise ValueError("a transfer without a mask has no signs to flip: leave flip_fraction at 0")
        if not 0 <= self.flip_fraction <= 1:
            raise ValueError(f"flip_fraction is a fraction between 0 and 1, not {self.flip_fraction}")
        if self.mask not in ("none", "ticket", "shuffled") and not _is_round(self.mask):
            raise ValueError(f"mask is none, ticket, shuffled or a round such as round_3, not {self.mask!r}")
        if self.mask == "shuffled" and (self.magnitudes == "trained" or _is_round(self.magnitudes)):
            raise ValueError(
                f"under a shuffled mask, magnitudes cannot be {self.magnitudes}: its pruned weights are zero, and some "
                f"would survive; take fresh, epoch_0 or init_2"
            )
        if self._other_rounds_signs:
            object.__setattr__(self, "signs_version", 2)
        for part, source in self._sources().items():
            if source not in _SOURCES[part] and named_source(source) is None and part != "signs":
                sources = ", ".join(_SOURCES[part])
                raise ValueError(f"{part} comes from {sources}, round_3, epoch_0 or init_2, not {source!r}")

    def _sources(self) -> dict[str, str]:
        return {part: getattr(self, part) for part in _SOURCES}

    @property
    def _other_rounds_signs(self) -> bool:
        return _is_round(self.signs) and self.signs != self.mask

    @property
    def needs_ticket(self) -> bool:
        """Whether a ticket is needed."""
        return self.mask != "none"

    @property
    def draws(self) -> bool:
        """Whether the start depends on the seed of its initialisation."""
        settled = ("ticket", "trained")
        parts = (self.mask, *self._sources().values())
        return self.flip_fraction > 0 or any(part not in settled and not named_source(part) for part in parts)

    @property
    def others(self) -> list[str]:
        """The named sources besides the ticket's own round: see ``tickets.transfers.sources``."""
        return sorted({source for source in (self.mask, *self._sources().values()) if named_source(source)})


def _is_round(source: str) -> bool:
    named = named_source(source)
    return named is not None and named[0] == "round"


_SOURCES = {
    "signs": ("fresh", "ticket"),
    "magnitudes": ("fresh", "trained"),
    **dict.fromkeys(("psi", "classifier", "biases"), ("fresh", "signed", "trained")),
    "statistics": ("fresh", "trained"),
}
DENSE = Transfer(mask="none")
RETRAIN = Transfer(
    signs="ticket",
    magnitudes="trained",
    psi="trained",
    classifier="trained",
    biases="trained",
    statistics="trained",
)
SIGNED = Transfer(signs="ticket", classifier="signed", biases="signed")
MASK = Transfer()

TRANSFERS: dict[str, Transfer] = {
    "dense": DENSE,
    "retrain": RETRAIN,
    "signed": SIGNED,
    "mask": MASK,
    "signed_psi_kept": Transfer(signs="ticket", classifier="signed", biases="signed", psi="trained"),
    "signed_psi_signs": Transfer(signs="ticket", classifier="signed", biases="signed", psi="signed", psi_shift=0.1),
    "shuffled": Transfer(mask="shuffled", signs="ticket", classifier="signed", biases="signed"),
    "flipped_quarter": Transfer(signs="ticket", classifier="signed", biases="signed", flip_fraction=0.25),
    "rewound": Transfer("ticket", "epoch_0", "epoch_0", "epoch_0", "epoch_0", "epoch_0", "epoch_0"),
}
"""Transfers by name; each sign source adds one, such as "random_signs".

"shuffled", "flipped_quarter" and "random_signs" are controls. "rewound" is the lottery ticket of Frankle and Carbin
(2019): the chain's own initialisation under the mask.
"""


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

    Returns:
        Boolean mask of each prunable weight; empty for a dense start.

    Raises:
        TicketError: the ticket does not fit the model, or a source is missing or does not fit. Parts of the model may
            have changed by then.
    """
    if not transfer.needs_ticket:
        return {}
    if signed is None:
        raise TicketError("this transfer takes signs or masks from a ticket; give one")
    counterparts(signed, unwrapped(model))
    origins = {**(others or {}), **({} if trained is None else {"trained": Origin(trained)})}
    if missing := [name for name in transfer.others if name not in origins]:
        raise TicketError(f"this transfer takes values from {' and '.join(missing)}; give them in others")
    if transfer.psi_shift:
        _shift_psi_(model, transfer.psi_shift)

    dense_source = {
        Role.NORMALIZATION: transfer.psi,
        Role.CLASSIFIER: transfer.classifier,
        Role.BIAS: transfer.biases,
    }
    masks: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        tensor = signed[name]
        if tensor.role is Role.PRUNABLE:
            magnitude = _values(transfer.magnitudes, name, parameter, origins)
            sign, masks[name] = _signs_and_mask(name, parameter, tensor, transfer, generator, origins)
            parameter.copy_(magnitude.abs() * sign.to(parameter) * masks[name])
        elif dense_source[tensor.role] == "signed":
            parameter.copy_(parameter.abs() * tensor.sign.to(parameter))
        else:
            parameter.copy_(_values(dense_source[tensor.role], name, parameter, origins))
    for name, buffer in model.named_buffers():
        buffer.copy_(_values(transfer.statistics, name, buffer, origins))
    return masks


def _shift_psi_(model: nn.Module, shift: float) -> None:
    for module in model.modules():
        if isinstance(module, NORMALIZATION_LAYERS) and module.bias is not None:
            module.bias.fill_(shift)


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
    elif transfer.mask != "ticket":
        mask = _mask_of(transfer.mask, name, fresh, origins).to(device)
    if named_source(transfer.signs):
        sign = _values(transfer.signs, name, fresh, origins).sign().to(torch.int8)
        if transfer._other_rounds_signs:
            sign = torch.where(sign == 0, fresh.sign().to(torch.int8), sign)
    elif transfer.signs == "fresh":
        sign = fresh.sign().to(torch.int8)
    elif transfer.signs != "ticket":
        sign = _registered_signs(transfer, SignedWeight(fresh, sign, mask), generator)
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
