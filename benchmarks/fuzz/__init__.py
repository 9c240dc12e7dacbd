"""Mutate small real stores, tickets and command lines, and judge what every command makes of them."""
