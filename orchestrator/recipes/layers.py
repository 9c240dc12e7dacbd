"""Layers of recipe fields: built-in YAML, the user's files and settings; later layers win."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from orchestrator.recipes.plain_yaml import MOST_DEPTH, UnclearYamlError, read_yaml
from tickets.files.reading import read_regular

MOST_QUOTED = 200
"""Characters of a setting in an error about it."""


class RecipeError(ValueError):
    """An unusable recipe; the message names the field."""


class Layer(dict[str, Any]):
    """Recipe fields from a file; ``source`` names it in words of the command line."""

    def __init__(self, fields: Mapping[str, Any], source: str) -> None:
        super().__init__(fields)
        self.source = source


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge layers: later values win, and mappings are merged by key."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            old = merged.get(name)
            both_nested = isinstance(old, Mapping) and isinstance(value, Mapping)
            merged[name] = merge(old, value) if both_nested else value  # type: ignore[arg-type]
    return merged


def parse_setting(text: str) -> dict[str, Any]:
    """Parse KEY=VALUE, such as ``optimizer.learning_rate=0.05``, to a layer; RecipeError for other text."""
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        given = text[:MOST_QUOTED] or repr(text)
        raise RecipeError(f"--set {given}: expected KEY=VALUE, such as optimizer.learning_rate=0.05")
    if name.count(".") > MOST_DEPTH:
        raise RecipeError(f"--set {text[:MOST_QUOTED]}: no field is nested that deeply")
    try:
        layer: Any = read_yaml(value)
    except UnclearYamlError as error:
        raise RecipeError(f"--set {text[:MOST_QUOTED]}: {error}") from error
    for part in reversed(name.strip().split(".")):
        layer = {part: layer}
    return layer


def read_recipe_file(path: Path) -> Layer:
    """Read a YAML mapping of recipe fields as a layer; RecipeError if the file cannot be read or holds no mapping."""
    source = f"--recipe {path}"
    return Layer(read_mapping(path, source, "a mapping of recipe fields, such as rounds: 10"), source)


def user_layers(
    recipe: Path | None, settings: Iterable[str], options: Mapping[str, Any], *, fast: bool = False
) -> tuple[Mapping[str, Any], ...]:
    """Order the command line's recipe fields as layers: ``--fast``, ``--recipe``, each ``--set``, other options.

    An option with the value None was not given. RecipeError if the file or a setting cannot be read, two words of the
    command line change one field, or ``--fast`` and the file do and no ``--set`` decides.
    """
    given = {name: value for name, value in options.items() if value is not None}
    layers = [(f"--set {text}", parse_setting(text)) for text in settings]
    layers += [(f"--{name.replace('_', '-')}", {name: value}) for name, value in given.items()]
    changed: dict[str, str] = {}  # by field, the word that changes it
    for word, layer in layers:
        for field in _fields(layer):
            for other, other_word in changed.items():
                if f"{field}.".startswith(f"{other}.") or f"{other}.".startswith(f"{field}."):
                    raise RecipeError(f"{other_word[:MOST_QUOTED]} and {word[:MOST_QUOTED]} change one field; give one")
            changed[field] = word
    files = [read_recipe_file(recipe)] if recipe else []
    if fast:
        layer = read_fast()
        for file in files:
            for field, value in layer.items():
                if field not in changed and file.get(field, value) != value:
                    raise RecipeError(
                        f"--fast sets {field} to {value}, and {file.source} to another value; decide with --set "
                        f"{field}=VALUE, or leave --fast out"
                    )
        files.insert(0, layer)
    return (*files, *(layer for _, layer in layers))


def read_fast() -> Layer:
    """Read the recipe fields that ``--fast`` names."""
    return Layer(read_builtin("fast"), "--fast")


def _fields(layer: Mapping[str, Any], outer: str = "") -> Iterator[str]:
    """The dotted names of the fields in a layer."""
    for name, value in layer.items():
        nested = isinstance(value, Mapping) and value
        yield from _fields(value, f"{outer}{name}.") if nested else (f"{outer}{name}",)


def read_mapping(path: Path, source: str, expected: str) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; errors call the file ``source`` and its content ``expected``.

    Raises:
        RecipeError: the file cannot be read, holds no mapping, or has a duplicate key; the message has the line.
    """
    try:
        content = read_yaml(read_regular(path).decode("utf-8-sig"))
    except UnclearYamlError as error:
        raise RecipeError(f"{source}{f':{error.line}' if error.line else ''}: {error}") from error
    except UnicodeDecodeError as error:
        row = 1 + error.object[: error.start].count(b"\n")
        raise RecipeError(f"{source}:{row}: this is not UTF-8; save the file as UTF-8") from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"{source}: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{source}: expected {expected}")
    return content


def read_builtin(name: str) -> dict[str, Any]:
    """Read a built-in recipe (small_images.yaml if NAME has none), merged over the one its ``like:`` names."""
    folder = files("orchestrator.recipes") / "builtin"
    path = folder / f"{name}.yaml"
    content = read_yaml((path if path.is_file() else folder / "small_images.yaml").read_text(encoding="utf-8"))
    return merge(read_builtin(content["like"]), content) if "like" in content else content
