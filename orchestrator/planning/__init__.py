"""Expand experiments to a plan: a graph of stages with content keys. Pure."""
