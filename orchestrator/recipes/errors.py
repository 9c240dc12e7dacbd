"""What does not fit a recipe or an experiment's file, as one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

UNKNOWN_FIELD = ("extra_forbidden", "unexpected_keyword_argument")
"""Types of pydantic's errors about a name, and not about a value."""
LISTS = {"probe_rounds": "[8, 12], or all", "transfer_rounds": "[8, 12], all or probed", "alpha.parameters": "[0, 1]"}


def unknown(what: str, name: str, known: Mapping[str, Any] | Sequence[str], within: str = "") -> str:
    """A sentence that names the nearest known names.

    Args:
        within: what stands before the name and before all known ones, such as "optimizer.".
    """
    near = [f"{within}{each}" for each in get_close_matches(name, list(known), n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"
    return f"unknown {what} {within + name!r}; {hint}"


def unfit(error: ErrorDetails) -> str:
    """A sentence about a value that does not fit, with its field in front."""
    field = ".".join(str(part) for part in error["loc"])
    words = _words(field, error["type"], error["input"]) or error["msg"].removeprefix("Value error, ")
    return f"{field}: {words}" if field else words


def _words(field: str, kind: str, given: object) -> str | None:
    """For what pydantic says in words of Python; None where its own will do."""
    if kind == "tuple_type":
        example = LISTS.get(field, f"[{given}]" if isinstance(given, str | int | float) else None)
        return f"expected a list, such as {example}" if example else "expected a list"
    if kind == "int_type":
        return f"expected a whole number, not {given!r}"
    return None
