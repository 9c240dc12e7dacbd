"""Figures of time and devices."""
