"""Keep pruned weights at zero in any training loop, under any optimizer.

Two kinds of hooks do it. A hook on each pruned parameter zeroes the gradients of pruned weights before they are
accumulated, so that clipping, momentum, loss scaling and DistributedDataParallel's average never see them; the hook
lies outside the graph that torch.compile compiles. A hook on the optimizer zeroes the pruned weights after each step,
for updates that mix elements (Muon) or add noise. Modules, forward passes and state dicts are unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from tickets.errors import TicketError

OptimizerT = TypeVar("OptimizerT", bound=Optimizer)


class MaskGuard:
    """A network under a ticket's mask, as ``Ticket.apply`` returns it. Refers to the network's own weights."""

    def __init__(self, network: nn.Module, masks: Mapping[str, Tensor], density: float) -> None:
        self._network = network
        self._ticket_density = density
        self._pruned = {name: _Pruned(~mask) for name, mask in masks.items()}
        self._of_weight: dict[nn.Parameter, _Pruned] = {}
        self._on_gradients: list[RemovableHandle] = []
        self._on_steps: list[RemovableHandle] = []

    @property
    def masks(self) -> dict[str, Tensor]:
        """Boolean mask of each prunable weight by the network's parameter names; True survives."""
        return {name: ~pruned.on(self._weight(name)) for name, pruned in self._pruned.items()}

    @property
    def density(self) -> float:
        """Share of the prunable weights that are alive now: those that the mask keeps, even at 0, and revived ones."""
        total = alive = 0
        for name, pruned in self._pruned.items():
            total += pruned.positions.numel()
            alive += int((~pruned.positions).sum()) + self._revived(name)
        return alive / total if total else 1.0

    def guard(self, optimizer: OptimizerT) -> OptimizerT:
        """Zero the pruned weights, now and after every step of this optimizer; return the optimizer.

        Call it after the network's parameters are final (``load_state_dict(assign=True)`` replaces them), and for
        each optimizer that holds some of them.

        Raises:
            TicketError: a weight is sharded, as under FullyShardedDataParallel.
        """
        weights = {self._weight(name): pruned for name, pruned in self._pruned.items()}
        self._unhook(self._on_gradients)
        self._of_weight = weights
        for weight, pruned in weights.items():
            pruned.zero_(weight)
            self._on_gradients.append(_hook_gradient(weight, pruned))
        self._on_steps.append(optimizer.register_step_post_hook(self._after_step))
        return optimizer

    def check(self) -> float:
        """Return the density; TicketError, with the first such layer, if a pruned weight is not zero."""
        for name, pruned in self._pruned.items():
            if revived := self._revived(name):
                raise TicketError(
                    f"{name}: {revived} of {int(pruned.positions.sum())} pruned weights are not zero: the density is "
                    f"{self.density:.4g}, the ticket's {self._ticket_density:.4g}; pass every optimizer of the "
                    f"network through guard() before it trains"
                )
        return self.density

    def remove(self) -> None:
        """Remove all hooks; training may revive pruned weights from then on."""
        self._unhook(self._on_gradients)
        self._unhook(self._on_steps)

    def _weight(self, name: str) -> nn.Parameter:
        weight = self._network.get_parameter(name)
        if weight.shape != self._pruned[name].positions.shape or hasattr(weight, "placements"):
            raise TicketError(
                f"{name} is sharded or has another shape than its mask; guard whole weights, as under DDP"
            )
        return weight

    @torch.no_grad()
    def _revived(self, name: str) -> int:
        weight = self._weight(name)
        return int((weight != 0).logical_and_(self._pruned[name].on(weight)).sum())

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        # the optimizer's own weights only: other weights may be in the middle of a backward pass
        for group in optimizer.param_groups:
            for weight in group["params"]:
                if pruned := self._of_weight.get(weight):
                    pruned.zero_(weight)

    @staticmethod
    def _unhook(handles: list[RemovableHandle]) -> None:
        while handles:
            handles.pop().remove()


class _Pruned:
    """Positions of a tensor's pruned weights, on the device where they were last used."""

    def __init__(self, positions: Tensor) -> None:
        self.positions = positions

    def on(self, tensor: Tensor) -> Tensor:
        self.positions = self.positions.to(tensor.device)
        return self.positions

    def zeroed(self, gradient: Tensor) -> Tensor:
        # not multiplied by the mask: an infinite gradient times zero is NaN
        return gradient.masked_fill(self.on(gradient), 0)

    @torch.no_grad()
    def zero_(self, weight: Tensor) -> None:
        weight.masked_fill_(self.on(weight), 0)


def _hook_gradient(weight: nn.Parameter, pruned: _Pruned) -> RemovableHandle:
    # torch refuses a hook on a frozen weight, but keeps the hook of a weight that is frozen later
    trained = weight.requires_grad
    handle = weight.requires_grad_(True).register_hook(pruned.zeroed)
    weight.requires_grad_(trained)
    return handle


Kept = MaskGuard
"""The class's name in earlier versions."""
