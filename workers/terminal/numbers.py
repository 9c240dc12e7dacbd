"""Numbers as people write them, in options and files alike: decimal, in ASCII digits, finite; and durations."""

from __future__ import annotations

import math
import re

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_REAL = re.compile(r"[-+]?((?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
MOST_DIGITS = 40
"""Of a whole number; Python itself refuses to read thousands of digits."""


def is_whole(text: str) -> bool:
    """Whether the text is a whole number, such as 8 or -3; not 08, 1_000, 1e3 or a number in other digits."""
    return _WHOLE.fullmatch(text) is not None


def is_real(text: str) -> bool:
    """Whether the text is a number, such as 0.05, 5e-4 or 8; not nan, inf, 1_000 or 1:30."""
    return _REAL.fullmatch(text) is not None


def whole(text: str) -> int:
    """Read a whole number; ValueError, as a sentence, for other text."""
    if not is_whole(text):
        raise ValueError(f"expected a whole number in the digits 0 to 9, such as 8, not {text!r}")
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a whole number has at most {MOST_DIGITS} digits, and this one has {len(text)}")
    return int(text)


def real(text: str) -> float:
    """Read a finite number; ValueError, as a sentence, for other text."""
    match = _REAL.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a number in the digits 0 to 9, such as 0.05, not {text!r}")
    number = float(text)
    if math.isinf(number) or (number == 0 and re.search("[1-9]", match[1])):
        raise ValueError(f"{text} is beyond the range of floating-point numbers")
    return number


def duration(seconds: float) -> str:
    """Return seconds in the unit that suits them."""
    if seconds < 10:
        return f"{round(seconds, 2 if seconds < 1 else 1):g} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
