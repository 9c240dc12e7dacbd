"""Transfers as data: the source of each part of a network's start.

A start combines a fresh initialisation, a ticket and, for some transfers, weights of the ticket's round, of other
rounds or of other initialisations. Paper, section 4 and figures 2 and 5. The named sources:

round_3     the network at the end of round 3 of the same chain
epoch_5     round 0 of the same chain after 5 epochs; epoch_0 is the chain's own initialisation
init_2      the fresh initialisation of transfer seed 2
dense_20    the dense training of the start's own initialisation after 20 epochs
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from tickets.registry import Registered, Registry
from tickets.signed import SignedTensor

_NAMED = re.compile(r"(round|epoch|init|dense)_(0|[1-9][0-9]{0,5})")
PERMUTED = "permuted"
MATCHINGS = ("activations", "weights")


@dataclass(frozen=True)
class Origin:
    """A network that parts of a start come from.

    Attributes:
        state: the state dict.
        signed: masks and signs by name; None for a network without a ticket, such as an initialisation.
    """

    state: Mapping[str, Tensor]
    signed: Mapping[str, SignedTensor] | None = None


def named_source(name: str) -> tuple[str, int] | None:
    """``("round", 3)`` for "round_3"; None for any other name."""
    match = _NAMED.fullmatch(name)
    return (match[1], int(match[2])) if match else None


class SignedWeight(NamedTuple):
    """A prunable weight as a sign source sees it.

    Attributes:
        fresh: the start's own initialisation.
        sign: the ticket's signs, int8 in {-1, 0, +1}.
        mask: the ticket's mask, bool.
    """

    fresh: Tensor
    sign: Tensor
    mask: Tensor


SignRule = Callable[[SignedWeight, torch.Generator], Tensor]
SIGN_SOURCES = Registry[Registered[SignRule]]("sign source", Registered)
"""Sign sources by name; ``tickets.sign_source`` registers one."""


@dataclass(frozen=True)
class Transfer:
    """The source of each part of a start.

    The mask may also be a round's, such as "round_3"; every other part may also name a source: "round_3", "epoch_0",
    "init_2" or "dense_20".

    Attributes:
        mask: "none" (a dense start, all parts fresh), "ticket", "shuffled" (the ticket's mask and signs, permuted
            within each layer), or "permuted": the ticket, with all that other parts take of it and of its chain, as it
            is once the units of the chain's dense solution stand where those of a dense training from the start's own
            initialisation stand (Adnan et al. 2025, section 3).
        matching: what a permuted mask's units are matched by: "activations", as in the paper, or "weights".
        signs: of the prunable weights: "fresh", "ticket", or a registered sign source such as "random". If the signs
            are another round's than the mask's, survivors that their round has pruned take their fresh sign.
        magnitudes: of the prunable weights: "fresh" or "trained". Not a round's under a shuffled mask, since pruned
            weights are zero there, nor of a later round than the mask's (``unfit_at``).
        psi, classifier, biases: "fresh", "signed" (fresh magnitude with the trained sign), or "trained".
        embeddings: class tokens, position embeddings and layer scales: as psi, or "biases" for the biases' source. Like
            biases they are dense and part of phi, whose signs the paper transfers.
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
    embeddings: str = "biases"
    matching: str = "activations"

    def __post_init__(self) -> None:
        if self.mask == "none" and any(source != "fresh" for source in self._sources().values()):
            raise ValueError("a transfer without a mask is a dense start: leave every part fresh")
        if self.mask == "none" and self.flip_fraction:
            raise ValueError("a transfer without a mask has no signs to flip: leave flip_fraction at 0")
        if self.mask == "none" and self.psi_shift:
            raise ValueError("a transfer without a mask starts with the network's own psi: leave psi_shift at 0")
        if not 0 <= self.flip_fraction <= 1:
            raise ValueError(f"flip_fraction is a fraction between 0 and 1, not {self.flip_fraction}")
        if self.mask not in ("none", "ticket", "shuffled", PERMUTED) and not _is_round(self.mask):
            raise ValueError(f"mask is none, ticket, shuffled, permuted or a round such as round_3, not {self.mask!r}")
        if self.matching not in MATCHINGS:
            raise ValueError(f"matching is {' or '.join(MATCHINGS)}, not {self.matching!r}")
        if self.matching != "activations" and self.mask != PERMUTED:
            raise ValueError(f"matching {self.matching} is of a permuted mask: set mask to permuted, or leave it out")
        if "dense_0" in self._sources().values():
            raise ValueError("dense_0 is the fresh initialisation: name fresh")
        if self.mask == "shuffled" and (self.magnitudes == "trained" or _is_round(self.magnitudes)):
            raise ValueError(
                f"under a shuffled mask, magnitudes cannot be {self.magnitudes}: its pruned weights are zero, and some "
                f"would survive; take fresh, epoch_0 or init_2"
            )
        if self.takes_other_rounds_signs:
            object.__setattr__(self, "signs_version", 2)
        for part, source in self._sources().items():
            if source not in _SOURCES[part] and named_source(source) is None and part != "signs":
                sources = ", ".join(_SOURCES[part])
                raise ValueError(f"{part} comes from {sources}, round_3, epoch_0, init_2 or dense_20, not {source!r}")

    def _sources(self) -> dict[str, str]:
        return {part: getattr(self, part) for part in _SOURCES} | {"embeddings": self.embeddings_source}

    @property
    def embeddings_source(self) -> str:
        """The source of embeddings and layer scales."""
        return self.biases if self.embeddings == "biases" else self.embeddings

    @property
    def takes_other_rounds_signs(self) -> bool:
        """Whether the signs are those of another round than the mask's."""
        return self.signs != self.mask if _is_round(self.signs) else self.signs == "ticket" and _is_round(self.mask)

    def unfit_at(self, round_: int) -> str:
        """Say why the ticket of this round cannot make the start; empty if it can."""
        masked = _round_of(self.mask, round_)
        if self.magnitudes != "trained" and not _is_round(self.magnitudes):
            return ""
        valued = _round_of(self.magnitudes, round_)
        if valued <= masked:
            return ""
        return (
            f"magnitudes of round {valued} are zero where that round has pruned, and the mask of round {masked} keeps "
            f"more; take magnitudes of round {masked} or before, fresh or epoch_0"
        )

    @property
    def needs_ticket(self) -> bool:
        """Whether a ticket is needed."""
        return self.mask != "none"

    @property
    def takes_trained(self) -> bool:
        """Whether a part keeps trained values of the ticket's round."""
        return "trained" in self._sources().values()

    @property
    def draws(self) -> bool:
        """Whether the start depends on the seed of its initialisation."""
        settled = ("ticket", "trained")
        parts = (self.mask, *self._sources().values())
        return self.flip_fraction > 0 or any(part not in settled and not named_source(part) for part in parts)

    @property
    def others(self) -> list[str]:
        """The named sources besides the ticket's own round; "permuted" is the permuted ticket."""
        sources = {self.mask, *self._sources().values()}
        return sorted(source for source in sources if named_source(source) or source == PERMUTED)

    @property
    def matched(self) -> bool:
        """Whether the ticket is permuted, which needs two dense solutions: the chain's and the start's own."""
        return self.mask == PERMUTED


def _is_round(source: str) -> bool:
    named = named_source(source)
    return named is not None and named[0] == "round"


def _round_of(source: str, own: int) -> int:
    """The round that a source names, or else the ticket's own."""
    named = named_source(source)
    return named[1] if named is not None and named[0] == "round" else own


_SOURCES = {
    "signs": ("fresh", "ticket"),
    "magnitudes": ("fresh", "trained"),
    **dict.fromkeys(("psi", "classifier", "biases", "embeddings"), ("fresh", "signed", "trained")),
    "statistics": ("fresh", "trained"),
}
DENSE = Transfer(mask="none")
RETRAIN = Transfer(
    signs="ticket", magnitudes="trained", psi="trained", classifier="trained", biases="trained", statistics="trained"
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
    "permuted": Transfer(mask=PERMUTED),
    "permuted_signed": replace(SIGNED, mask=PERMUTED),
    "rewound": Transfer("ticket", "epoch_0", "epoch_0", "epoch_0", "epoch_0", "epoch_0", "epoch_0"),
}
"""Transfers by name; each sign source adds one, such as "random_signs".

"shuffled", "flipped_quarter" and "random_signs" are controls. "rewound" is the lottery ticket of Frankle and Carbin
(2019): the chain's own initialisation under the mask. "permuted" is Adnan et al.'s (2025) without rewinding;
"permuted_signed" adds the signs, which move along.
"""


def sign_source(name: str, *, version: int = 1) -> Callable[[SignRule], SignRule]:
    """Register a function that gives signs to a prunable weight: int8 in {-1, 0, +1}, of its shape and on its device.

    The function is called for one weight after another, with one CPU generator for all. It also registers the transfer
    ``{name}_signs``, the signed transfer with these signs; other transfers may name the source too.

    Raise ``version`` when the signs change, so that earlier results are not taken for new ones.
    """

    def register(rule: SignRule) -> SignRule:
        SIGN_SOURCES.register(name, version=version)(rule)
        TRANSFERS[f"{name}_signs"] = replace(SIGNED, signs=name)
        return rule

    return register


@sign_source("random")
def random_signs(weight: SignedWeight, generator: torch.Generator) -> Tensor:
    """Independent uniform signs."""
    drawn = torch.randint(0, 2, weight.sign.shape, generator=generator, dtype=torch.int8)
    return drawn.to(weight.sign.device) * 2 - 1
