"""The error of data sets."""

from __future__ import annotations


class DataError(ValueError):
    """Data is missing, damaged or of another layout; the message says what is expected where."""
