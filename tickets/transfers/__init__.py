"""Start a network from a ticket: transfers as data, and the sources that their parts may name."""

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
    "Origin",
    "SignedWeight",
    "Transfer",
    "named_source",
    "sign_source",
    "transfer_",
]
