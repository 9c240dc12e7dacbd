"""How the fields of a stage are serialised: in its key, its ``stage.json``, its record and stored plans alike.

A field may have another name and other values there than in Python, so that renaming it leaves every key and every
file as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter

_Dataclass = TypeVar("_Dataclass")


def serialised_as(name: str, values: Mapping[Any, str] | None = None) -> dict[str, Any]:
    """Metadata of a dataclass field that is serialised under another name.

    Args:
        values: serialised value by Python value; without, values are serialised as they are.
    """
    return {"serialised_name": name, "serialised_values": values or {}}


def serialised_field(field: Field[Any], value: Any) -> tuple[str, Any]:
    """Name and value of a field in serialised form."""
    values = field.metadata.get("serialised_values")
    return field.metadata.get("serialised_name", field.name), values[value] if values else value


def to_science(value: Any) -> Any:
    """A stage, or a part of one, as nested dicts: the ``science`` of jobs, records and stored plans."""
    if is_dataclass(value) and not isinstance(value, type):
        pairs = (serialised_field(field, getattr(value, field.name)) for field in fields(value))
        return {name: to_science(item) for name, item in pairs}
    if isinstance(value, Mapping):
        return {name: to_science(item) for name, item in value.items()}
    return type(value)(map(to_science, value)) if isinstance(value, list | tuple) else value


def from_science(cls: type[_Dataclass], science: Mapping[str, Any]) -> _Dataclass:
    """Inverse of ``to_science``.

    Raises:
        ValidationError: a field is missing or has a value of another type.
    """
    return TypeAdapter(cls).validate_python(_python_fields(cls, science), strict=False)


def _python_fields(cls: Any, science: Any) -> Any:
    """Serialised fields under their Python names and with their Python values, in nested dataclasses too."""
    if not is_dataclass(cls) or not isinstance(science, Mapping):
        return science
    types, content = get_type_hints(cls), {}
    for field in fields(cls):
        name = field.metadata.get("serialised_name", field.name)
        if name in science:
            value = _python_fields(types[field.name], science[name])
            values = {serialised: python for python, serialised in field.metadata.get("serialised_values", {}).items()}
            content[field.name] = values.get(value, value) if values else value
    return content
