"""A resolved recipe as fields: as YAML that ``--recipe`` takes back, and compared with the built-in recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

import yaml
from pydantic import TypeAdapter

from orchestrator.recipes.recipe import Recipe
from orchestrator.recipes.resolution import resolve
from orchestrator.recipes.study import Study

NAMED_BY_OPTIONS = ("dataset", "arch", "preset")
"""Fields that a recipe's file cannot hold."""


def as_fields(recipe: Recipe) -> dict[str, Any]:
    """Return every field that a sweep reads, as plain values; what names starts that nobody trains is left out."""
    fields = recipe.model_dump(mode="json", exclude={*NAMED_BY_OPTIONS})
    fields["twins"] = [name for name in recipe.twins if name in recipe.transfers]
    trained = {"retrain", *recipe.transfers}
    fields["landscapes"] = [list(starts) for starts in recipe.landscapes if trained >= set(starts)]
    first_epochs = {name: epoch for name, epoch in fields.pop("first_epochs").items() if name in trained}
    if first_epochs:  # stores of earlier versions have no such field, and it would differ
        fields["first_epochs"] = first_epochs
    if recipe.study.declared:
        fields["study"] = TypeAdapter(Study).dump_python(recipe.study, mode="json", exclude_defaults=True)
    return fields


def flat_fields(recipe: Recipe) -> dict[str, Any]:
    """Return every field that a sweep reads by dotted name, such as "optimizer.learning_rate"."""
    return dict(_flat(as_fields(recipe)))


def differences(recipe: Recipe) -> dict[str, Any]:
    """Return the built-in value of each field that differs, by dotted name; None where the built-in recipe has none."""
    own, builtin = flat_fields(recipe), flat_fields(_builtin(recipe))
    return {name: builtin.get(name) for name in {**own, **builtin} if own.get(name) != builtin.get(name)}


def as_yaml(recipe: Recipe) -> str:
    """Write the file that ``--recipe`` takes back: a line per field, with the built-in value where it differs."""
    fields, builtin = as_fields(recipe), as_fields(_builtin(recipe))
    options = f"--datasets {recipe.dataset} --archs {recipe.arch} --preset {recipe.preset}"
    lines = [f"# The whole recipe of: winning-sign sweep {options} --recipe FILE"]
    for name, value in fields.items():
        differs = builtin.get(name) != value
        lines.append(f"{name}: {_flow(value)}" + (f"  # built-in: {_flow(builtin.get(name))}" if differs else ""))
    return "\n".join([*lines, ""])


def _builtin(recipe: Recipe) -> Recipe:
    return resolve(recipe.dataset, recipe.arch, recipe.preset)


def _flat(fields: Mapping[str, Any], outer: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{outer}{name}.")
        else:
            yield f"{outer}{name}", value


def _flow(value: Any) -> str:
    """Write a value as YAML in one line."""
    text: str = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=inf, allow_unicode=True)
    return text.strip()[1:-1]
