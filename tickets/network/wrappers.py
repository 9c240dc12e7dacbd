"""Wrappers that DistributedDataParallel and torch.compile put around a network."""

from __future__ import annotations

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from tickets.errors import TicketError

COMPILED = "_orig_mod"


def unwrapped(model: nn.Module) -> nn.Module:
    """The network below the wrappers of DistributedDataParallel and torch.compile.

    Raises:
        TicketError: ``model`` is no ``torch.nn.Module``.
    """
    if not isinstance(model, nn.Module):
        raise TicketError(
            f"a ticket applies to a torch.nn.Module, not to a {type(model).__name__}; load a state dict into its "
            f"network and give the network"
        )
    while True:
        if isinstance(model, (DataParallel, DistributedDataParallel)):
            model = model.module
        elif COMPILED in model._modules:
            model = model.get_submodule(COMPILED)
        else:
            return model
