"""Sentences about names and values that do not fit a recipe or an experiment's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

UNKNOWN_FIELD = ("extra_forbidden", "unexpected_keyword_argument")
"""Types of pydantic's errors about a name instead of a value."""
LISTS = {
    "probe_rounds": "[8, 12], or all",
    "transfer_rounds": "[8, 12], all or probed",
    "alpha.parameters": "[0, 1]",
    "landscapes": "[[retrain, signed, mask]]",
}


def unknown(what: str, name: str, known: Mapping[str, Any] | Sequence[str], within: str = "") -> str:
    """A sentence about an unknown name, with the nearest known names, or all known names if none is near.

    Args:
        within: prefix of the name and of all known names, such as "optimizer.".
    """
    near = [f"{within}{each}" for each in _nearest(name, list(known))]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"
    return f"unknown {what} {within + name!r}; {hint}"


def _nearest(name: str, known: Sequence[str]) -> list[str]:
    """Names of similar spelling, or else names that ``name`` abbreviates: "lr" is a learning_rate."""
    return get_close_matches(name, known, n=3, cutoff=0.5) or [each for each in known if _initials(each) == name]


def _initials(name: str) -> str:
    return "".join(word[:1] for word in name.rpartition(".")[2].split("_"))


def unfit(error: ErrorDetails) -> str:
    """A sentence about a value that does not fit, after its field."""
    field = ".".join(str(part) for part in error["loc"])
    sentence = _in_words(field, error) or error["msg"].removeprefix("Value error, ")
    return f"{field}: {sentence}" if field else sentence


def _in_words(field: str, error: ErrorDetails) -> str | None:
    """A sentence for pydantic's errors in terms of Python; None where pydantic's own message will do."""
    value = error["input"]
    if error["type"] == "tuple_type":
        field = "landscapes" if field.startswith("landscapes.") else field
        example = LISTS.get(field, f"[{value}]" if isinstance(value, str | int | float) else None)
        return f"expected a list, such as {example}" if example else "expected a list"
    if error["type"] == "int_type":
        return f"expected a whole number, not {value!r}"
    if error["type"] == "literal_error":
        return f"expected {error['ctx']['expected']}, not {value!r}"
    return None
