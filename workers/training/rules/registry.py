"""Registered functions whose keyword arguments are options of a recipe, and the completion of these options.

An option is a keyword-only argument with a type. ``Annotated[float, Field(gt=0)]`` bounds its values.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from tickets.registry import Registered, Registry, unknown
from workers.stages import MaskRule, Optimizer, Options, Rule

_EXACTLY = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
Named = TypeVar("Named", Rule, MaskRule, Optimizer)


@dataclass(frozen=True)
class WithOptions(Registered[Callable[..., Any]]):
    """A registered function whose keyword-only arguments are options."""

    def complete(self, options: Options) -> dict[str, Any]:
        """All options: the given ones, and the defaults of the others.

        Raises:
            ValueError: an option is unknown, lacks a value, or has a value of another type or beyond its bounds.
        """
        model = self._model()
        try:
            return model.model_validate(dict(options)).model_dump()
        except ValidationError as errors:
            error = errors.errors()[0]
            name = ".".join(str(part) for part in error["loc"])
            if error["type"] == "extra_forbidden":
                raise ValueError(unknown("option", name, model.model_fields, "options.")) from None
            if error["type"] == "missing":
                raise ValueError(f"options.{name} has no default; give it") from None
            reason = error["msg"].removeprefix("Value error, ")
            reason = reason.replace("Input should be a ", "expected a ").replace("Input should be", "expected a value")
            raise ValueError(f"options.{name}: {reason}, not {error['input']!r}") from None

    def _model(self) -> type[BaseModel]:
        types = get_type_hints(self.function, include_extras=True)
        parameters = inspect.signature(self.function).parameters.values()
        options: dict[str, Any] = {
            each.name: (types[each.name], ... if each.default is each.empty else each.default)
            for each in parameters
            if each.kind is each.KEYWORD_ONLY
        }
        return create_model(self.name, __config__=_EXACTLY, **options)


EntryT = TypeVar("EntryT", bound=WithOptions)


def completed(registry: Registry[EntryT], rule: Named) -> Named:
    """The rule with all its options and the registered version.

    Raises:
        ValueError: no function of this name, or of the given version, is registered; or an option does not fit.
    """
    entry = _entry(registry, rule)
    try:
        options = entry.complete(rule.options)
    except ValueError as error:
        raise ValueError(f"{registry.kind} {rule.name}: {error}") from None
    return replace(rule, options=options, version=entry.version)


def function_of(registry: Registry[EntryT], rule: Rule | MaskRule | Optimizer) -> Callable[..., Any]:
    """The registered function with the rule's options bound; ValueError as of ``completed``."""
    entry = _entry(registry, rule)
    return partial(entry.function, **entry.complete(rule.options))


def _entry(registry: Registry[EntryT], rule: Rule | MaskRule | Optimizer) -> EntryT:
    if rule.version is not None:
        return registry.find(rule.name, rule.version)
    if rule.name not in registry:
        raise ValueError(unknown(registry.kind, rule.name, registry, plugins=True))
    return registry[rule.name]
