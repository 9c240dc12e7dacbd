"""Figures of masks and signs."""
