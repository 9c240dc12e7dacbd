"""Experiment files, and the request that a file and the command line make together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.recipes.layers import Layer, RecipeError, merge, read_builtin, read_mapping
from orchestrator.recipes.limits import Once
from orchestrator.recipes.resolution import unfit, unknown_field
from tickets.registry import unknown
from workers.stages import Preset

Names = Annotated[tuple[str, ...], Once]


class Smoke(BaseModel):
    """The changes of an experiment's smoke variant, merged over ``recipes/builtin/smoke.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    datasets: Names = Field(default=(), min_length=1)
    archs: Names = Field(default=(), min_length=1)
    recipe: dict[str, Any] = Field(default_factory=dict)


class ExperimentFile(BaseModel):
    """The content of an experiment's YAML file; the folder ``orchestrator/experiments`` has examples.

    Attributes:
        title: the question that the experiment answers, in one line.
        archs: architectures; None takes each data set's default.
        tickets: sources of tickets from elsewhere, as ``--tickets`` names them.
        recipe: recipe fields, merged over those of the data set and the preset.
        smoke: changes for a run of seconds that only shows that the experiment works.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    datasets: Names = Field(min_length=1)
    archs: Names | None = Field(default=None, min_length=1)
    preset: Preset = "sound"
    tickets: Names = ()
    recipe: dict[str, Any] = Field(default_factory=dict)
    smoke: Smoke = Smoke()


@dataclass(frozen=True)
class ExperimentRequest:
    """What a sweep compares, on which data sets and architectures: an experiment's file, or the command line's choices.

    Attributes:
        datasets: None leaves the choice of the file.
        archs: None leaves the choice of the file or, without one, takes each data set's default.
        preset: None leaves the choice of the file or, without one, takes "sound".
        tickets: sources of tickets from elsewhere; None leaves the choice of the file or, without one, takes none.
        layers: recipe fields from the file, ``--recipe``, ``--set`` and other options; later layers win.
    """

    datasets: Names | None = None
    archs: Names | None = None
    preset: str | None = None
    layers: tuple[Mapping[str, Any], ...] = ()
    tickets: Names | None = None

    def under(self, flags: ExperimentRequest) -> ExperimentRequest:
        """Merge the command line's choices over these; RecipeError if no data set is named or the preset is unknown."""
        datasets = self.datasets if flags.datasets is None else flags.datasets
        archs = self.archs if flags.archs is None else flags.archs
        preset = self.preset if flags.preset is None else flags.preset
        if preset is not None and preset not in get_args(Preset):
            raise RecipeError(unknown("preset", preset, get_args(Preset)))
        if datasets is None:
            raise RecipeError("name data sets, such as --datasets mnist1d, or an experiment's file")
        tickets = self.tickets if flags.tickets is None else flags.tickets
        return ExperimentRequest(datasets, archs, preset, (*self.layers, *flags.layers), tickets)


def request_experiment(file: Path | None, flags: ExperimentRequest, *, smoke: bool = False) -> ExperimentRequest:
    """Merge the command line's choices over an experiment's file, or its smoke variant, if there is a file.

    Raises:
        RecipeError: the file cannot be used, ``smoke`` comes without a file, or no data set is named.
    """
    if smoke and file is None:
        raise RecipeError("--smoke runs the smoke variant of an experiment's file; name a file, or only --datasets")
    return (read_experiment(file, smoke=smoke) if file else ExperimentRequest()).under(flags)


def builtin_experiments() -> dict[str, Path]:
    """Files of ``orchestrator/experiments`` by name, such as figure2."""
    folder = Path(str(files("orchestrator") / "experiments"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_experiment(given: Path) -> Path:
    """Return the file at a path, else the built-in experiment of that name; RecipeError if neither exists.

    Both ``figure2`` and ``experiments/figure2.yaml`` name the built-in figure2.
    """
    if given.is_file():
        return given
    builtin = builtin_experiments()
    name = given.stem if given.suffix == ".yaml" else given.name
    if given in (Path(name), Path(f"{name}.yaml"), Path("experiments", f"{name}.yaml")) and name in builtin:
        return builtin[name]
    raise RecipeError(f"{given}: no such file, and {unknown('experiment', name, builtin)}")


def read_experiment(given: Path, *, smoke: bool = False) -> ExperimentRequest:
    """Read an experiment's file, by its path or a built-in name; ``smoke`` takes the same comparisons at least size.

    Raises:
        RecipeError: the file cannot be read, a field is unknown (in the smoke variant too), or a value does not fit.
    """
    path = find_experiment(given)
    content = read_mapping(path, str(path), "a mapping with datasets and recipe, such as experiments/figure2.yaml")
    try:
        file = ExperimentFile.model_validate(content)
    except ValidationError as error:
        # an unknown field is likely the missing one, misspelt
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = Smoke.model_fields if field.startswith("smoke.") else ExperimentFile.model_fields
            raise RecipeError(f"{path}: {unknown('field', field.removeprefix('smoke.'), list(known))}") from error
        raise RecipeError(f"{path}: {unfit(first)}") from error
    for name, fields in (("recipe", file.recipe), ("smoke.recipe", file.smoke.recipe)):
        if sentence := unknown_field(fields):
            raise RecipeError(f"{path}: {name}: {sentence}")
    if not smoke:
        return ExperimentRequest(file.datasets, file.archs, file.preset, (Layer(file.recipe, str(path)),), file.tickets)
    builtin = Smoke.model_validate(read_builtin("smoke"))
    recipe = merge(file.recipe, builtin.recipe, file.smoke.recipe)
    datasets, archs = file.smoke.datasets or builtin.datasets, file.smoke.archs or builtin.archs
    return ExperimentRequest(datasets, archs, file.preset, (Layer(recipe, str(path)),))
