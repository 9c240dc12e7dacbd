"""Decide which stage starts next and how long a plan takes. Pure: no clock, no I/O, no Ray."""
