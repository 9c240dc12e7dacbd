"""Inspect and repair a store without running stages; needs neither Ray nor torch."""
