"""Pruned weights that stay dead while a network is trained by anybody's loop and optimizer.

Two kinds of hooks do it. One on each pruned parameter zeroes its pruned gradients before they are accumulated, so
that clipping, momentum, loss scaling and DistributedDataParallel's average never see them; it is on the parameter,
outside of what torch.compile compiles. One on the optimizer zeroes the pruned weights after each step, for updates
that mix elements (Muon) or add to them (noise). The modules, their forward and their state dicts stay as they are.
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


class Kept:
    """A network under a ticket's mask, as ``Ticket.apply`` returns it; it holds the network's weights, not copies."""

    def __init__(self, network: nn.Module, masks: Mapping[str, Tensor], density: float) -> None:
        self._network = network
        self._ticket_density = density
        self._pruned = {name: _Pruned(~mask) for name, mask in masks.items()}
        self._of_weight: dict[nn.Parameter, _Pruned] = {}
        self._on_gradients: list[RemovableHandle] = []
        self._on_steps: list[RemovableHandle] = []

    @property
    def masks(self) -> dict[str, Tensor]:
        """Boolean mask of every prunable weight, by the network's parameter names; True survives."""
        return {name: ~pruned.on(self._weight(name)) for name, pruned in self._pruned.items()}

    @property
    def density(self) -> float:
        """Share of the prunable weights that live now: all that the mask keeps, be they 0, and revived ones."""
        total = alive = 0
        for name, pruned in self._pruned.items():
            total += pruned.positions.numel()
            alive += int((~pruned.positions).sum()) + self._revived(name)
        return alive / total if total else 1.0

    def guard(self, optimizer: OptimizerT) -> OptimizerT:
        """Keep pruned weights at zero, from now on and through every step of this optimizer.

        Call it once the network's parameters are final (loaded with ``assign=True``, say), and for every optimizer
        that holds some of them.

        Returns:
            The same optimizer.

        Raises:
            TicketError: a weight is not whole, as under FullyShardedDataParallel.
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
        """The density, now that no pruned weight lives.

        Raises:
            TicketError: one does; the message names the first layer that has such a weight.
        """
        for name, pruned in self._pruned.items():
            if revived := self._revived(name):
                raise TicketError(
                    f"{name}: {revived} of {int(pruned.positions.sum())} pruned weights are not zero: the density is "
                    f"{self.density:.4g}, the ticket's {self._ticket_density:.4g}; pass every optimizer of the "
                    f"network through guard() before it trains"
                )
        return self.density

    def remove(self) -> None:
        """Take all hooks off; whatever trains the network from here on may revive its pruned weights."""
        self._unhook(self._on_gradients)
        self._unhook(self._on_steps)

    def _weight(self, name: str) -> nn.Parameter:
        weight = self._network.get_parameter(name)
        if weight.shape != self._pruned[name].positions.shape or hasattr(weight, "placements"):
            raise TicketError(
                f"{name} is sharded or has changed its shape; a ticket is kept on whole weights, as under DDP"
            )
        return weight

    @torch.no_grad()
    def _revived(self, name: str) -> int:
        weight = self._weight(name)
        return int((weight != 0).logical_and_(self._pruned[name].on(weight)).sum())

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        # its own weights only: others may be in the middle of a backward pass
        for group in optimizer.param_groups:
            for weight in group["params"]:
                if pruned := self._of_weight.get(weight):
                    pruned.zero_(weight)

    @staticmethod
    def _unhook(handles: list[RemovableHandle]) -> None:
        while handles:
            handles.pop().remove()


class _Pruned:
    """Which weights of a tensor are pruned, on the device on which they were last asked for."""

    def __init__(self, positions: Tensor) -> None:
        self.positions = positions

    def on(self, tensor: Tensor) -> Tensor:
        self.positions = self.positions.to(tensor.device)
        return self.positions

    def zeroed(self, gradient: Tensor) -> Tensor:
        # filled, not multiplied: an infinite gradient times zero is not a number
        return gradient.masked_fill(self.on(gradient), 0)

    @torch.no_grad()
    def zero_(self, weight: Tensor) -> None:
        weight.masked_fill_(self.on(weight), 0)


def _hook_gradient(weight: nn.Parameter, pruned: _Pruned) -> RemovableHandle:
    # a frozen weight takes no hook, yet keeps one and may be thawed later
    trained = weight.requires_grad
    handle = weight.requires_grad_(True).register_hook(pruned.zeroed)
    weight.requires_grad_(trained)
    return handle
