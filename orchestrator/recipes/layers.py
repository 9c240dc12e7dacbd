"""Layers of recipe fields: the built-in YAML, a user's files and settings, and later ones over earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml


class RecipeError(ValueError):
    """A recipe that cannot be used; the message names the field."""


class Layer(dict[str, Any]):
    """Recipe fields that are said in a file, and which file that is, in words of the command line."""

    def __init__(self, fields: Mapping[str, Any], source: str) -> None:
        super().__init__(fields)
        self.source = source


class _Loader(yaml.SafeLoader):
    """YAML's own plain values; a key that is said twice is an error, where YAML would take the last one."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(problem=f"{key.value} is said twice", problem_mark=key.start_mark)
                seen.add((key.tag, key.value))
        return node


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later layers over earlier ones; mappings are merged, everything else is replaced."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            old = merged.get(name)
            both = isinstance(old, Mapping) and isinstance(value, Mapping)
            merged[name] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def parse_setting(text: str) -> dict[str, Any]:
    """``optimizer.learning_rate=0.05`` as a layer; the value is YAML.

    Raises:
        RecipeError: it is not of the form KEY=VALUE.
    """
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise RecipeError(f"--set {text}: expected KEY=VALUE, such as optimizer.learning_rate=0.05")
    try:
        layer: Any = yaml.load(value, _Loader)
    except (ValueError, yaml.YAMLError) as error:
        raise RecipeError(f"--set {text}: the value is not YAML") from error
    for part in reversed(name.strip().split(".")):
        layer = {part: layer}
    return layer


def read_recipe_file(path: Path) -> Layer:
    """A user's recipe file as a layer: a YAML mapping of recipe fields.

    Raises:
        RecipeError: it cannot be read, or is no mapping.
    """
    called = f"--recipe {path}"
    return Layer(read_mapping(path, called, "a mapping of recipe fields, such as rounds: 10"), called)


def user_layers(
    recipe: Path | None, settings: Iterable[str], options: Mapping[str, Any]
) -> tuple[Mapping[str, Any], ...]:
    """Order the command line's recipe fields as layers: ``--recipe``, then each ``--set``, then other options.

    Args:
        options: values by recipe field; None stands for an option that was not given.

    Raises:
        RecipeError: the file cannot be read, or a setting is not of the form KEY=VALUE.
    """
    given = {name: value for name, value in options.items() if value is not None}
    return (*([read_recipe_file(recipe)] if recipe else []), *map(parse_setting, settings), given)


def read_mapping(path: Path, called: str, expected: str) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Args:
        called: what a sentence about it begins with.
        expected: what it should hold, in words.

    Raises:
        RecipeError: it cannot be read, is no mapping, or says a key twice; with the line.
    """
    try:
        content = yaml.load(path.read_text(), _Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RecipeError(f"{called}{line}: {error.problem}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RecipeError(f"{called}: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{called}: expected {expected}")
    return content


def read_builtin(name: str) -> dict[str, Any]:
    """A file of this folder by its name, or the one for small images where there is none, with what it is like."""
    folder = files("orchestrator.recipes") / "builtin"
    path = folder / f"{name}.yaml"
    content = yaml.safe_load((path if path.is_file() else folder / "small_images.yaml").read_text())
    return merge(read_builtin(content["like"]), content) if "like" in content else content
