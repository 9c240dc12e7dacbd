"""What is wrong with data, in one sentence."""

from __future__ import annotations


class DataError(ValueError):
    """Data that is missing, of another layout, or damaged; the message says what is expected where."""
