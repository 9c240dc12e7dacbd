"""Signed masks: what a ticket is, how it is stored, and how it starts a new network.

>>> ticket = tickets.load("ticket.parquet")
>>> kept = ticket.apply(model, seed=1)    # |fresh| * sign, pruned weights at zero
>>> optimizer = kept.guard(torch.optim.AdamW(model.parameters()))    # and they stay there
"""

from tickets.errors import TicketError
from tickets.kept import Kept
from tickets.network.initialisation import reinitialise_, reset_layers
from tickets.parquet import load, save
from tickets.roles import Role, UnknownLayerError, classifier_name, parameter_roles, prunable_names
from tickets.signed import SignedTensor
from tickets.ticket import Provenance, Ticket, from_model
from tickets.transfers.signs import sign_source
from tickets.transfers.sources import SIGN_SOURCES, Origin, SignedWeight, named_source
from tickets.transfers.transfer import DENSE, MASK, RETRAIN, SIGNED, TRANSFERS, Transfer, transfer_

__all__ = [
    "DENSE",
    "MASK",
    "RETRAIN",
    "SIGNED",
    "SIGN_SOURCES",
    "TRANSFERS",
    "Kept",
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
