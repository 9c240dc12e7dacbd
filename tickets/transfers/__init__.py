"""Start a network from a ticket: transfers as data, and the sources that their parts may name."""

from tickets.transfers.signs import sign_source  # registers the built-in sign sources

__all__ = ["sign_source"]
