"""Sentences about names and values that do not fit a recipe or an experiment's file."""

from __future__ import annotations

from pydantic_core import ErrorDetails

UNKNOWN_FIELD = ("extra_forbidden", "unexpected_keyword_argument")
"""Types of pydantic's errors about a name instead of a value."""
LISTS = {
    "probe_rounds": "[8, 12], or all",
    "transfer_rounds": "[8, 12], all or probed",
    "alpha.parameters": "[0, 1]",
    "landscapes": "[[retrain, signed, mask]]",
}


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
