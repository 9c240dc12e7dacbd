"""A ticket: the signed mask of a sparse network and its provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from tickets.errors import TicketError
from tickets.files.tables import MOST_LETTERS
from tickets.network.fit import counterparts, renamed, unwrapped
from tickets.network.foreign_masks import foreign_masks, take_redrawn_
from tickets.network.initialisation import check_redrawable, reinitialise_
from tickets.network.mask_guard import MaskGuard
from tickets.roles import Role, parameter_roles
from tickets.signed import SignedTensor
from tickets.transfers.start import transfer_
from tickets.transfers.transfer import SIGNED, TRANSFERS, Origin, Transfer

SCHEMA_VERSION = 1
LARGEST_NUMBER = 2**63 - 1


@dataclass(frozen=True)
class Provenance:
    """Where a ticket comes from. Fields that another project's file does not state are "unknown".

    A field may have a wrong value, which ``tickets.inspection.faults`` names; a value that is no text, number or None
    of a usual size is a TicketError.

    Attributes:
        density: surviving fraction of the prunable weights, in [0, 1].
        round: the pruning round; 0 is dense pretraining, None is unknown.
        stage_key: key of the stage that made the ticket.
    """

    dataset: str
    architecture: str
    method: str
    round: int | None
    density: float
    preset: str
    stage_key: str

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, str):
                usual = len(value) <= MOST_LETTERS
            else:
                usual = value is None or (isinstance(value, int | float) and not abs(value) > LARGEST_NUMBER)
            if not usual:
                raise TicketError(f"{name} is no text of at most {MOST_LETTERS:,} letters, and no usual number")


@dataclass(frozen=True, repr=False)
class Ticket:
    """A signed mask by parameter name, with its provenance. ``tickets.load`` and ``tickets.save`` read and write it."""

    tensors: Mapping[str, SignedTensor]
    provenance: Provenance

    @property
    def masks(self) -> dict[str, Tensor]:
        """Boolean mask of each prunable weight by name."""
        return {name: t.mask for name, t in self.tensors.items() if t.role is Role.PRUNABLE}

    @property
    def weight_counts(self) -> tuple[int, int]:
        """The numbers of surviving and of all prunable weights."""
        masks = self.masks.values()
        return sum(int(mask.sum()) for mask in masks), sum(mask.numel() for mask in masks)

    @property
    def density(self) -> float:
        """Surviving fraction of the prunable weights; 1 if there are none."""
        alive, weights = self.weight_counts
        return alive / weights if weights else 1.0

    def __repr__(self) -> str:
        origin = self.provenance
        return (
            f"Ticket({origin.dataset}/{origin.architecture}, {origin.method} round {origin.round}, density "
            f"{self.density:.4g} of {self.weight_counts[1]:,} prunable weights in {len(self.masks)} layers)"
        )

    def apply(
        self,
        model: nn.Module,
        *,
        seed: int | None = None,
        transfer: Transfer = SIGNED,
        trained: Mapping[str, Tensor] | None = None,
        others: Mapping[str, Origin] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> MaskGuard:
        """Start a model from this ticket, in place. By default prunable weights become |fresh| * sign.

        Args:
            model: a network with the ticket's parameters; it may be compiled or under DistributedDataParallel. Masks of
                other libraries in it are set to the ticket's, as long as they prune none of the ticket's survivors.
            seed: re-initialise the model from this seed first, as ``tickets.reinitialise_`` does; None uses the model's
                parameters as the fresh values.
            transfer: the source of each part. If the classifier is fresh, the model's may have any shape.
            trained: state dict of the ticket's round, for a transfer that keeps trained values.
            others: the rounds and initialisations that ``transfer.others`` lists, under the model's names.
            names: the model's name of each tensor whose name differs in the ticket.

        Returns:
            The network under its mask: ``guard`` the optimizer with it, so that pruned weights stay zero.

        Raises:
            TicketError: the ticket does not fit the model, a source of the transfer is missing or does not fit, or a
                mask in the model prunes weights that the ticket keeps. The model is unchanged after any error.
        """
        network = unwrapped(model)
        if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
            raise TicketError("the model is on the meta device and has no values; build it on another device")
        if not isinstance(transfer, Transfer):
            [near] = get_close_matches(str(transfer), TRANSFERS, n=1, cutoff=0)
            raise TicketError(f'transfer {transfer!r} is no Transfer; say transfer=tickets.TRANSFERS["{near}"]')
        parameter_of = counterparts(self.tensors, network, names, own_classifier=transfer.classifier == "fresh")
        generator = torch.Generator().manual_seed(seed or 0)
        state = None if trained is None else renamed(trained, parameter_of)
        with _unchanged_by_errors(network):
            if seed is not None:
                check_redrawable(network, seed)
                reinitialise_(network, seed)
                take_redrawn_(network)
            signed = self._under_names_of(network, parameter_of)
            masks = transfer_(network, transfer, signed, state, generator, others)
        return MaskGuard(network, masks, self.density)

    def check_fits(self, model: nn.Module, names: Mapping[str, str] | None = None) -> None:
        """Raise TicketError, naming the first tensor that differs, unless the model has the ticket's parameters."""
        counterparts(self.tensors, unwrapped(model), names)

    def _under_names_of(self, network: nn.Module, parameter_of: Mapping[str, str]) -> dict[str, SignedTensor]:
        """The tensors by the network's names; a classifier of another shape becomes one without signs."""
        tensors = {parameter_of[name]: tensor for name, tensor in self.tensors.items() if name in parameter_of}
        masked = foreign_masks(network)
        for name, parameter in network.named_parameters():
            if name in masked:
                continue
            if name not in tensors or tensors[name].sign.shape != parameter.shape:
                sign = torch.zeros(parameter.shape, dtype=torch.int8)
                tensors[name] = SignedTensor(Role.CLASSIFIER, sign, torch.ones_like(sign, dtype=torch.bool))
        return tensors


@contextmanager
def _unchanged_by_errors(network: nn.Module) -> Iterator[None]:
    tensors = [*network.parameters(), *network.buffers()]
    before = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)
        raise


def from_model(model: nn.Module, masks: Mapping[str, Tensor], num_classes: int, provenance: Provenance) -> Ticket:
    """Make the ticket of a trained network under boolean masks by parameter name; the other parameters are dense."""
    roles = parameter_roles(model, num_classes)
    tensors = {}
    for name, parameter in model.named_parameters():
        sign = parameter.detach().sign().to(torch.int8).cpu()
        mask = masks[name].bool().cpu() if name in masks else torch.ones_like(sign, dtype=torch.bool)
        tensors[name] = SignedTensor(roles[name], sign * mask, mask)
    return Ticket(tensors, provenance)
