"""Which options a network takes, as its builder's signature says, and what is wrong with given ones."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import nn

from tickets.registry import unknown

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
"""The types that a recipe's options can have, in words."""
_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")
_GIVEN = ("self", "in_channels", "num_classes", "in_chans")


def options_of(builder: Callable[..., Any]) -> dict[str, Any]:
    """The options of a builder and their annotations, without what the data set gives; None for one without a type."""
    try:
        hints = get_type_hints(builder.__init__ if inspect.isclass(builder) else builder, include_extras=True)
    except (NameError, TypeError):  # a plugin's annotations need not be types
        hints = {}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(builder).parameters.values()
    return {each.name: hints.get(each.name) for each in parameters if each.kind in named and each.name not in _GIVEN}


def takes_any(builder: Callable[..., Any]) -> bool:
    """Whether a builder passes on options that its signature does not name."""
    return any(each.kind is each.VAR_KEYWORD for each in inspect.signature(builder).parameters.values())


def unfit(options: Mapping[str, object], known: Mapping[str, Any], *, others: bool = False) -> str | None:
    """A sentence about the first option that a network does not take, or not with this value; None if all fit.

    Args:
        known: options and their annotations.
        others: whether the network may take further ones.
    """
    for name, value in options.items():
        if name not in known:
            if not others:
                return unknown_option(name, known)
            continue
        kinds = _kinds(known[name])
        if kinds is None or type(value) in kinds or (float in kinds and type(value) is int):
            continue
        if not kinds:
            return f"model.{name}: it takes neither a number nor a text, and a recipe gives nothing else; leave it out"
        return f"model.{name}: expected {' or '.join(WORDS[kind] for kind in kinds)}, not {json.dumps(value)}"
    return None


def unknown_option(name: str, known: Mapping[str, Any]) -> str:
    """Say that a network has no such option, and which it has."""
    usable = sorted(each for each, annotation in known.items() if _kinds(annotation) != [])
    if not usable:
        return f"unknown option 'model.{name}'; it takes none, so leave it out"
    listed = ", ".join(usable)
    sentence = unknown("option", name, usable, "model.")
    return sentence if listed in sentence else f"{sentence} It takes {listed}"


def unexpected(error: Exception) -> str | None:
    """The option that a call refused by Python's own sentence; None for another error."""
    match = _UNEXPECTED.search(str(error))
    return match[1] if match and isinstance(error, TypeError) else None


def _kinds(annotation: Any) -> list[type] | None:
    """The types of a recipe's values that an annotation allows; None if it says nothing."""
    if annotation is None or annotation is Any:
        return None
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return list(dict.fromkeys(type(value) for value in get_args(annotation)))
    if get_origin(annotation) in (Union, UnionType):
        found = [_kinds(each) for each in get_args(annotation) if each is not NoneType]
        return None if None in found else list(dict.fromkeys(kind for kinds in found for kind in kinds or ()))
    if annotation in WORDS:
        return [annotation]
    container = get_origin(annotation) or annotation
    if not isinstance(container, type):
        return None
    if issubclass(container, (nn.Module, Iterable)):
        return []
    # timm looks up classes and functions by name, also where an annotation does not say so
    return [str] if issubclass(container, Callable) else None  # type: ignore[arg-type]
