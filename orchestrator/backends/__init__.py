"""Backends: where attempts run."""
