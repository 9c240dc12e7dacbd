"""Tickets: signed masks of sparse networks. Read one, start a network from it, and keep its pruned weights at zero.

>>> ticket = tickets.load("ticket.parquet")
>>> kept = ticket.apply(model, seed=1)    # |fresh weight| * sign; pruned weights are zero
>>> optimizer = kept.guard(torch.optim.AdamW(model.parameters()))    # and they stay zero

A ticket holds, for each parameter, its signs and a mask of the surviving weights. A ``Transfer`` says which values a
start takes from the ticket and which are fresh. ``tickets.formats`` reads and writes the files of other projects.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from winning_sign import check

if TYPE_CHECKING:
    from tickets.errors import TicketError
    from tickets.network.initialisation import reinitialise_, reset_layers
    from tickets.network.mask_guard import Kept, MaskGuard
    from tickets.parquet import load, save
    from tickets.roles import Role, UnknownLayerError, classifier_name, parameter_roles, prunable_names
    from tickets.signed import SignedTensor
    from tickets.ticket import Provenance, Ticket, from_model
    from tickets.transfers.start import transfer_
    from tickets.transfers.transfer import (
        DENSE,
        MASK,
        PERMUTED,
        RETRAIN,
        SIGN_SOURCES,
        SIGNED,
        TRANSFERS,
        Origin,
        SignedWeight,
        Transfer,
        named_source,
        sign_source,
    )

__all__ = [
    "DENSE",
    "MASK",
    "PERMUTED",
    "RETRAIN",
    "SIGNED",
    "SIGN_SOURCES",
    "TRANSFERS",
    "Kept",
    "MaskGuard",
    "Origin",
    "Provenance",
    "Role",
    "SignedTensor",
    "SignedWeight",
    "Ticket",
    "TicketError",
    "Transfer",
    "UnknownLayerError",
    "classifier_name",
    "from_model",
    "load",
    "named_source",
    "parameter_roles",
    "prunable_names",
    "reinitialise_",
    "reset_layers",
    "save",
    "sign_source",
    "transfer_",
]
_MODULES = (  # where the names above are defined, ground first
    "errors",
    "roles",
    "signed",
    "network.initialisation",
    "network.mask_guard",
    "transfers.transfer",
    "transfers.start",
    "ticket",
    "parquet",
)


check("tickets", needs=())


def __getattr__(name: str) -> object:
    """Import a public name's module when the name is first used: torch takes seconds, and many commands need none."""
    if name in _MODULES:
        return import_module(f"tickets.{name}")
    if name in __all__:
        for module in _MODULES:
            members = vars(import_module(f"tickets.{module}"))
            if name in members:
                globals()[name] = members[name]
                return members[name]
    raise AttributeError(f"module 'tickets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
