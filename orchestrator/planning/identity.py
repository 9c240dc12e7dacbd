"""The key of a stage: a hash of what it computes.

The pre-image is canonical JSON of the kind, the kind's version, the science fields and the keys of the inputs. An
upstream stage enters by its key: nested pre-images would grow exponentially with the rounds. Fields at their defaults
are left out, so a new field with a default changes no existing key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tickets.files import digest
from workers.stages import Stage, serialised_fields


def stage_key(stage: Stage, inputs: Mapping[str, str]) -> str:
    """The stage's key: 32 hexadecimal digits; ``inputs`` are keys of the upstream stages by input name."""
    science = canonical(stage)
    content = {"kind": stage.kind, "stage_version": stage.version, "science": science, "inputs": canonical(inputs)}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return digest.of_text(text)


def canonical(value: object) -> Any:
    """The one JSON form of a value: mappings by sorted key, sequences as lists, floats by repr.

    Raises:
        TypeError: the value's type has no such form; no value is ever hashed by its ``str()``.
        ValueError: a float is NaN or infinite.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} has no place in a key")
        return float(value)  # a plain float, which JSON writes by its repr; a subclass may print otherwise
    if (parts := serialised_fields(type(value))) is not None:
        changed = (part for part in parts if getattr(value, part.attribute) != part.default)
        return {part.name: canonical(part.of(value)) for part in changed}
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("a mapping in a key has string keys")
        return {name: canonical(value[name]) for name in sorted(value)}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    raise TypeError(f"a {type(value).__name__} cannot be part of a key")
