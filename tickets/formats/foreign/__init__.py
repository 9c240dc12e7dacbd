"""Formats of other projects' checkpoints and masks."""
