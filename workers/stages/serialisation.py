"""How the fields of a stage are serialised: in its key, its ``stage.json``, its record and stored plans alike.

A field may have another name and other values there than in Python, so that renaming it leaves every key and every
file as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, NamedTuple, TypeVar, get_type_hints

from pydantic import TypeAdapter

_Dataclass = TypeVar("_Dataclass")


def serialised_as(name: str, values: Mapping[Any, str] | None = None) -> dict[str, Any]:
    """Metadata of a dataclass field that is serialised under another name.

    Args:
        values: serialised value by Python value; without, values are serialised as they are.
    """
    return {"serialised_name": name, "serialised_values": values or {}}


class SerialisedField(NamedTuple):
    """How a dataclass field is serialised.

    Attributes:
        attribute: its name in Python.
        name: its name in files.
        values: serialised value by Python value; empty if values are serialised as they are.
        default: its default value; MISSING without one.
    """

    attribute: str
    name: str
    values: Mapping[Any, str]
    default: object

    def of(self, value: Any) -> Any:
        """The field's value of an instance, in serialised form."""
        item = getattr(value, self.attribute)
        return self.values[item] if self.values else item


_FIELDS: dict[type, tuple[SerialisedField, ...] | None] = {}
"""By class: a plan of 100,000 stages asks a million times."""


def serialised_fields(cls: type) -> tuple[SerialisedField, ...] | None:
    """The fields of a dataclass; None for other classes."""
    if cls not in _FIELDS:
        _FIELDS[cls] = _fields_of(cls) if is_dataclass(cls) else None
    return _FIELDS[cls]


def _fields_of(cls: type) -> tuple[SerialisedField, ...]:
    return tuple(
        SerialisedField(
            field.name,
            field.metadata.get("serialised_name", field.name),
            field.metadata.get("serialised_values") or {},
            field.default if field.default_factory is MISSING else field.default_factory(),
        )
        for field in fields(cls)
    )


def to_science(value: Any) -> Any:
    """A stage, or a part of one, as nested dicts: the ``science`` of jobs, records and stored plans."""
    if value is None or isinstance(value, str | int | float):
        return value
    if (parts := serialised_fields(type(value))) is not None:
        return {part.name: to_science(part.of(value)) for part in parts}
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
