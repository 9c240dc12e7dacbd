"""Transfers as data: for each part of a network, the source of its values."""
