"""Decide which stage starts next, on which devices, and how long the rest takes. Pure: no clock, no I/O, no Ray."""
