"""Transfers as data: which source each part of a new network's start comes from.

A start is put together from a fresh initialisation, a ticket and, for some transfers, the trained weights of the
ticket's round, of other rounds or of other initialisations. method.md, "Transfers and final training"; paper section 4
and figures 2 and 5.
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

    Every part but the mask may also name a source of ``tickets.transfers.sources``, such as "round_3", "epoch_0"
    or "init_2", for its values, and the mask a round.

    Attributes:
        mask: none (a dense start, whose every part is fresh), the ticket's, or the ticket's shuffled, with its
            signs, within each layer.
        signs: of the prunable weights: fresh, the ticket's, or a registered source's, such as "random". A survivor of
            the mask for which another round has no sign, because it is pruned there, takes its fresh sign.
        magnitudes: of the prunable weights: fresh or trained; under a shuffled mask no round's, whose weights are zero
            where they are pruned.
        psi, classifier, biases: a fresh draw, "signed" (its magnitude with the trained sign), or trained values.
        statistics: running statistics of batch norm: fresh or trained.
        psi_shift: initial shift of psi; 0 is a network's own, figure 5 uses 0.1 so that a shift has a sign.
        flip_fraction: fraction of the surviving signs that are flipped afterwards (a control).
        signs_version: of a registered source of signs; of another round's than the mask's it is 2 by itself. (In 1,
            a survivor without a sign there began at zero.)

    Raises:
        ValueError: a part names no source that it can come from.
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
            raise ValueError("a transfer without a mask is a dense start, whose every part is fresh")
        if self.mask == "none" and self.flip_fraction:
            raise ValueError("a transfer without a mask is a dense start, and has no ticket's signs to flip")
        if not 0 <= self.flip_fraction <= 1:
            raise ValueError(f"flip_fraction is a share between 0 and 1, not {self.flip_fraction}")
        if self.mask not in ("none", "ticket", "shuffled") and not _is_round(self.mask):
            raise ValueError(f"mask is none, ticket, shuffled or a round such as round_3, not {self.mask!r}")
        if self.mask == "shuffled" and (self.magnitudes == "trained" or _is_round(self.magnitudes)):
            raise ValueError(
                f"under a shuffled mask, magnitudes cannot be {self.magnitudes}: weights that are pruned there are "
                f"zero, and some of them would survive; take fresh, epoch_0 or init_2"
            )
        if self._other_rounds_signs:
            object.__setattr__(self, "signs_version", 2)
        for part, source in self._sources().items():
            if source not in _SOURCES[part] and named_source(source) is None and part != "signs":
                known = ", ".join(_SOURCES[part])
                raise ValueError(f"{part} comes from {known}, round_3, epoch_0 or init_2, not {source!r}")

    def _sources(self) -> dict[str, str]:
        return {part: getattr(self, part) for part in _SOURCES}

    @property
    def _other_rounds_signs(self) -> bool:
        return _is_round(self.signs) and self.signs != self.mask

    @property
    def needs_ticket(self) -> bool:
        """Whether a ticket or its round's weights are read at all."""
        return self.mask != "none"

    @property
    def draws(self) -> bool:
        """Whether anything of the start depends on its initialisation's seed."""
        settled = ("ticket", "trained")
        parts = (self.mask, *self._sources().values())
        return self.flip_fraction > 0 or any(part not in settled and not named_source(part) for part in parts)

    @property
    def others(self) -> list[str]:
        """What it names beside the ticket's own round, as in ``tickets.transfers.sources``."""
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
"""Every transfer by its name; ``tickets.transfers.signs`` adds one for each source of signs.

"shuffled", "flipped_quarter" and "random_signs" are this project's controls; "rewound" is the lottery ticket of Frankle
and Carbin (2019): the chain's own initialisation under the mask.
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
        signed: a ticket's signs and masks by the model's names; may be None only for a dense start.
        trained: state dict of the ticket's round; read where a source is "trained".
        generator: CPU generator for the controls' draws (random, shuffled and flipped signs).
        others: what ``transfer.others`` names.

    Returns:
        The boolean mask of every prunable weight; empty for a dense start.

    Raises:
        TicketError: the ticket does not fit the model, or a source is not given or does not fit; some of the model may
            be changed by then.
    """
    if not transfer.needs_ticket:
        return {}
    if signed is None:
        raise TicketError("this transfer takes signs or masks from a ticket, and none was given")
    counterparts(signed, unwrapped(model))
    origins = {**(others or {}), **({} if trained is None else {"trained": Origin(trained)})}
    if missing := [name for name in transfer.others if name not in origins]:
        raise TicketError(f"this transfer takes values of {' and '.join(missing)}; give them as others")
    if transfer.psi_shift:
        for module in model.modules():
            if isinstance(module, NORMALIZATION_LAYERS) and module.bias is not None:
                module.bias.fill_(transfer.psi_shift)

    sources = {
        Role.NORMALIZATION: transfer.psi,
        Role.CLASSIFIER: transfer.classifier,
        Role.BIAS: transfer.biases,
    }
    masks: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        own = signed[name]
        if own.role is Role.PRUNABLE:
            magnitude = _values(transfer.magnitudes, name, parameter, origins)
            sign, mask = _signs_and_mask(name, parameter, own, transfer, generator, origins)
            masks[name] = mask
            parameter.copy_(magnitude.abs() * sign.to(parameter) * mask)
        elif sources[own.role] == "signed":
            parameter.copy_(parameter.abs() * own.sign.to(parameter))
        else:
            parameter.copy_(_values(sources[own.role], name, parameter, origins))
    for name, buffer in model.named_buffers():
        buffer.copy_(_values(transfer.statistics, name, buffer, origins))
    return masks


def _signs_and_mask(
    name: str,
    fresh: Tensor,
    signed: SignedTensor,
    transfer: Transfer,
    generator: torch.Generator,
    origins: Mapping[str, Origin],
) -> tuple[Tensor, Tensor]:
    # on the model's device throughout; only the draws come from the CPU, where they are the same for every device
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
        alive = mask.flatten().nonzero().squeeze(1)
        chosen = alive[torch.randperm(len(alive), generator=generator).to(device)]
        chosen = chosen[: round(transfer.flip_fraction * len(alive))]
        flipped = sign.flatten().clone()
        flipped[chosen] *= -1
        sign = flipped.view_as(sign)
    return sign, mask


def _registered_signs(transfer: Transfer, weight: SignedWeight, generator: torch.Generator) -> Tensor:
    try:
        rule = SIGN_SOURCES.find(transfer.signs, transfer.signs_version).function
    except UnknownNameError as error:
        raise TicketError(str(error)) from error
    signs = rule(weight, generator)
    if signs.dtype != torch.int8 or signs.shape != weight.sign.shape or not torch.equal(signs, signs.clamp(-1, 1)):
        raise TicketError(
            f"the source of signs {transfer.signs} gives {signs.dtype} of shape {tuple(signs.shape)}; expected int8 in "
            f"-1, 0 and 1, of shape {tuple(weight.sign.shape)}"
        )
    return signs


def _values(source: str, name: str, fresh: Tensor, origins: Mapping[str, Origin]) -> Tensor:
    if source == "fresh":
        return fresh
    if source not in origins or name not in origins[source].state:
        whose = "the round's weights" if source == "trained" else f"what was given as {source}"
        raise TicketError(f"{name}: this transfer keeps {source} values, and {whose} lack this one")
    value = origins[source].state[name]
    _check_shape(name, source, value, fresh)
    return value.to(fresh)


def _mask_of(source: str, name: str, fresh: Tensor, origins: Mapping[str, Origin]) -> Tensor:
    signed = origins[source].signed
    if signed is None or name not in signed:
        raise TicketError(f"{name}: this transfer takes its mask from {source}, which has no ticket with it")
    mask = signed[name].mask
    _check_shape(name, source, mask, fresh)
    return mask


def _check_shape(name: str, source: str, value: Tensor, fresh: Tensor) -> None:
    if value.shape != fresh.shape:
        raise TicketError(
            f"{name}: what was given as {source} has shape {tuple(value.shape)}, the model {tuple(fresh.shape)}"
        )
