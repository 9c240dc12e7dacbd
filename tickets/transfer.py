"""Transfers as data: which source each part of a new network's start comes from.

A start is put together from a fresh initialisation, a ticket and, for some transfers, the trained weights of the
ticket's round. method.md, "Transfers and final training"; paper section 4 and figures 2 and 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from tickets.errors import TicketError
from tickets.roles import NORMALIZATION_LAYERS, Role

if TYPE_CHECKING:
    from tickets.ticket import SignedTensor, Ticket

Part = Literal["fresh", "signed", "trained"]
"""Source of a dense part: a fresh draw; |fresh| with the trained sign; or the trained values."""


@dataclass(frozen=True)
class Transfer:
    """The source of each part of a start.

    Attributes:
        mask: none (a dense start, whose every part is fresh), the ticket's, or the ticket's shuffled, with its
            signs, within each layer.
        signs: of the prunable weights: fresh, the ticket's, or random.
        magnitudes: of the prunable weights: fresh or trained.
        psi, classifier, biases: a fresh draw, its magnitude with the trained sign, or the trained values.
        statistics: running statistics of batch norm.
        psi_shift: initial shift of psi; 0 is a network's own, figure 5 uses 0.1 so that a shift has a sign.
        flip_fraction: fraction of the surviving signs that are flipped afterwards (a control).
    """

    mask: Literal["none", "ticket", "shuffled"] = "ticket"
    signs: Literal["fresh", "ticket", "random"] = "fresh"
    magnitudes: Literal["fresh", "trained"] = "fresh"
    psi: Part = "fresh"
    classifier: Part = "fresh"
    biases: Part = "fresh"
    statistics: Literal["fresh", "trained"] = "fresh"
    psi_shift: float = 0.0
    flip_fraction: float = 0.0

    def __post_init__(self) -> None:
        fresh = all(part == "fresh" for part in (self.signs, self.magnitudes, self.psi, self.classifier, self.biases))
        if self.mask == "none" and not (fresh and self.statistics == "fresh" and not self.flip_fraction):
            raise ValueError("a transfer without a mask is a dense start, whose every part is fresh")
        if not 0 <= self.flip_fraction <= 1:
            raise ValueError(f"flip_fraction is a share between 0 and 1, not {self.flip_fraction}")

    @property
    def needs_ticket(self) -> bool:
        """Whether a ticket or its round's weights are read at all."""
        return self.mask != "none"


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

TRANSFERS: Mapping[str, Transfer] = {
    "dense": DENSE,
    "retrain": RETRAIN,
    "signed": SIGNED,
    "mask": MASK,
    "signed_psi_kept": Transfer(signs="ticket", classifier="signed", biases="signed", psi="trained"),
    "signed_psi_signs": Transfer(signs="ticket", classifier="signed", biases="signed", psi="signed", psi_shift=0.1),
    "random_signs": Transfer(signs="random", classifier="signed", biases="signed"),
    "shuffled": Transfer(mask="shuffled", signs="ticket", classifier="signed", biases="signed"),
    "flipped_quarter": Transfer(signs="ticket", classifier="signed", biases="signed", flip_fraction=0.25),
}
"""Every transfer by its name; the last three are this project's controls."""


@torch.no_grad()
def transfer_(
    model: nn.Module,
    transfer: Transfer,
    ticket: Ticket | None,
    trained: Mapping[str, Tensor] | None,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Turn a freshly initialised model, in place, into the start that a transfer describes.

    Args:
        model: a fresh initialisation.
        ticket: signs and mask; may be None only for a dense start.
        trained: state dict of the ticket's round; read where a source is "trained".
        generator: CPU generator for the controls' draws (random, shuffled and flipped signs).

    Returns:
        The boolean mask of every prunable weight; empty for a dense start.

    Raises:
        TicketError: the ticket does not fit the model, or the transfer needs one that is not given.
    """
    if not transfer.needs_ticket:
        return {}
    if ticket is None:
        raise TicketError("this transfer takes signs or masks from a ticket, and none was given")
    ticket.check_fits(model)
    if transfer.psi_shift:
        for module in model.modules():
            if isinstance(module, NORMALIZATION_LAYERS) and module.bias is not None:
                module.bias.fill_(transfer.psi_shift)

    sources: dict[Role, Part] = {
        Role.NORMALIZATION: transfer.psi,
        Role.CLASSIFIER: transfer.classifier,
        Role.BIAS: transfer.biases,
    }
    masks: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        signed = ticket.tensors[name]
        if signed.role is Role.PRUNABLE:
            magnitude = parameter if transfer.magnitudes == "fresh" else _trained(trained, name, parameter)
            sign, mask = _signs_and_mask(parameter, signed, transfer, generator)
            masks[name] = mask
            parameter.copy_(magnitude.abs() * sign.to(parameter) * mask)
        elif sources[signed.role] == "signed":
            parameter.copy_(parameter.abs() * signed.sign.to(parameter))
        elif sources[signed.role] == "trained":
            parameter.copy_(_trained(trained, name, parameter))
    if transfer.statistics == "trained":
        for name, buffer in model.named_buffers():
            buffer.copy_(_trained(trained, name, buffer))
    return masks


def _signs_and_mask(
    fresh: Tensor, signed: SignedTensor, transfer: Transfer, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    # on the model's device throughout; only the draws come from the CPU, where they are the same for every device
    device = fresh.device
    sign, mask = signed.sign.to(device), signed.mask.to(device)
    if transfer.mask == "shuffled":
        order = torch.randperm(sign.numel(), generator=generator).to(device)
        sign, mask = sign.flatten()[order].view_as(sign), mask.flatten()[order].view_as(mask)
    if transfer.signs == "fresh":
        sign = fresh.sign().to(torch.int8)
    elif transfer.signs == "random":
        drawn = torch.randint(0, 2, sign.shape, generator=generator, dtype=torch.int8)
        sign = drawn.to(device) * 2 - 1
    if transfer.flip_fraction:
        alive = mask.flatten().nonzero().squeeze(1)
        chosen = alive[torch.randperm(len(alive), generator=generator).to(device)]
        chosen = chosen[: round(transfer.flip_fraction * len(alive))]
        flipped = sign.flatten().clone()
        flipped[chosen] *= -1
        sign = flipped.view_as(sign)
    return sign, mask


def _trained(trained: Mapping[str, Tensor] | None, name: str, like: Tensor) -> Tensor:
    if trained is None or name not in trained:
        raise TicketError(f"{name}: this transfer keeps trained values, and the round's weights lack this one")
    return trained[name].to(like)
