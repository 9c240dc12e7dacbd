"""A sweep as a YAML file: what is compared on which data, with a smoke variant that takes seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.recipes import Layer, RecipeError, merge, read_builtin, read_mapping, unfit, unknown, unknown_field
from workers.stages import Preset

Names = tuple[str, ...]


class Smoke(BaseModel):
    """What an experiment's smoke variant has of its own, over the built-in one (``recipes/smoke.yaml``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    datasets: Names = Field(default=(), min_length=1)
    archs: Names = Field(default=(), min_length=1)
    recipe: dict[str, Any] = Field(default_factory=dict)


class ExperimentFile(BaseModel):
    """A sweep in a file; see the folder ``experiments``.

    Attributes:
        title: what it is for, in a line.
        archs: None takes each data set's own.
        recipe: fields of the recipe, over those of the data set and the preset.
        smoke: what a run that only shows that it works has of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    datasets: Names = Field(min_length=1)
    archs: Names | None = Field(default=None, min_length=1)
    preset: Preset = "sound"
    recipe: dict[str, Any] = Field(default_factory=dict)
    smoke: Smoke = Smoke()


@dataclass(frozen=True)
class Wanted:
    """What a file asks for."""

    datasets: Names
    archs: Names | None
    preset: Preset
    recipe: Layer


def read_experiment(path: Path, *, smoke: bool = False) -> Wanted:
    """Read an experiment's file.

    Args:
        smoke: its smoke variant: the same comparisons, as small as can be.

    Raises:
        RecipeError: it cannot be read, or a field is unknown, be it one of the smoke variant, or does not fit.
    """
    content = read_mapping(path, str(path), "a mapping with datasets and recipe, as the files in experiments/ are")
    try:
        file = ExperimentFile.model_validate(content)
    except ValidationError as error:
        # a field that is not known is likely the one that is missing
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = Smoke.model_fields if field.startswith("smoke.") else ExperimentFile.model_fields
            raise RecipeError(f"{path}: {unknown('field', field.removeprefix('smoke.'), list(known))}") from error
        raise RecipeError(f"{path}: {unfit(first)}") from error
    for name, fields in (("recipe", file.recipe), ("smoke.recipe", file.smoke.recipe)):
        if said := unknown_field(fields):
            raise RecipeError(f"{path}: {name}: {said}")
    if not smoke:
        return Wanted(file.datasets, file.archs, file.preset, Layer(file.recipe, str(path)))
    builtin = Smoke.model_validate(read_builtin("smoke"))
    recipe = merge(file.recipe, builtin.recipe, file.smoke.recipe)
    datasets, archs = file.smoke.datasets or builtin.datasets, file.smoke.archs or builtin.archs
    return Wanted(datasets, archs, file.preset, Layer(recipe, str(path)))
