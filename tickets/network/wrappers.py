"""What DistributedDataParallel and torch.compile put around a network."""

from __future__ import annotations

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from tickets.errors import TicketError

COMPILED = "_orig_mod"


def unwrapped(model: nn.Module) -> nn.Module:
    """The network itself, below the wrappers of DistributedDataParallel and torch.compile.

    Raises:
        TicketError: it is none.
    """
    if not isinstance(model, nn.Module):
        raise TicketError(
            f"a ticket is for a network, a torch.nn.Module, and this is a {type(model).__name__}; load a state dict "
            f"into its network and give that"
        )
    while True:
        if isinstance(model, (DataParallel, DistributedDataParallel)):
            model = model.module
        elif COMPILED in model._modules:
            model = model.get_submodule(COMPILED)
        else:
            return model
