"""Resolve a recipe: built-in layers, a preset and the user's changes, merged and validated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestrator.recipes.layers import Layer, RecipeError, merge, read_builtin
from orchestrator.recipes.limits import MOST_ROUNDS
from orchestrator.recipes.methods import Method
from orchestrator.recipes.recipe import Recipe
from orchestrator.recipes.study import Study
from tickets import Transfer
from tickets.registry import unknown
from workers.models import find_architecture
from workers.stages import Alpha, Optimizer, Rules, Schedule
from workers.training.rules.warm_up import length_epochs

NESTED: dict[str, type[Any]] = {
    "optimizer": Optimizer,
    "alpha": Alpha,
    "final_schedule": Schedule,
    "round_schedule": Schedule,
    "final_training": Rules,
    "round_training": Rules,
    "study": Study,
}
OWN: dict[str, type[Any]] = {"own_methods": Method, "own_transfers": Transfer}
UNKNOWN_FIELD = ("extra_forbidden", "unexpected_keyword_argument")
"""Types of pydantic's errors about a name instead of a value."""
TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a text",
    "option_type": "a finite number, a text, true or false",
    "dict_type": "a mapping, such as {name: value}",
    "dataclass_type": "a mapping, such as {name: value}",
}
"""What pydantic expected, by the type of its error."""
BOUNDS = {
    "greater_than_equal": ("of at least", "ge"),
    "greater_than": ("above", "gt"),
    "less_than_equal": ("of at most", "le"),
    "less_than": ("below", "lt"),
}
LISTS = {
    "probe_rounds": "[8, 12], or all",
    "transfer_rounds": "[8, 12], all or probed",
    "alpha.parameters": "[0, 1]",
    "landscapes": "[[retrain, signed, mask]]",
    "tickets_from": "[cifar10, cifar100]",
    "study.primary": "[accuracy_of_signed_minus_mask]",
    "study.looks": "[3, 6, 12]",
}
FAMILY = {"cifar10": "cifar", "cifar100": "cifar", "imagefolder": "imagenet", "mnist1d_shuffled": "mnist1d"}


def resolve(dataset: str, arch: str | None, preset: str, changes: Sequence[Mapping[str, Any]] = ()) -> Recipe:
    """Resolve the recipe for a data set and architecture.

    Built-in layers come first (the data set's file, its section for the architecture, the preset, the data set's and
    the architecture's changes to that preset), then the user's changes in their order. Built-in rounds beyond the
    user's ``rounds`` are left out; if none is left, the last round is taken. The architecture completes its options.

    Raises:
        RecipeError: a name or field is unknown, or its value does not fit.
    """
    family = dataset.partition(":")[0]
    builtin = read_builtin(FAMILY.get(family, family))
    arch = arch or builtin["arch"]
    presets = read_builtin("presets")
    if preset not in presets:
        raise RecipeError(unknown("preset", preset, presets))
    of_preset, of_arch = builtin.get("presets", {}), dict(builtin.get("archs", {}).get(arch, {}))
    of_arch_and_preset = of_arch.pop("presets", {}).get(preset, {})
    values = merge(builtin["recipe"], of_arch, presets[preset], of_preset.get(preset, {}), of_arch_and_preset)
    user = merge(*changes)
    files = ", ".join(layer.source for layer in changes if isinstance(layer, Layer))
    title = f"recipe for {dataset} ({files})" if files else f"recipe for {dataset}"
    for name, option in (("dataset", "--datasets"), ("arch", "--archs"), ("preset", "--preset")):
        if name in user:
            raise RecipeError(f"{title}: {name} cannot be changed in a recipe; give {option}")
    values = merge(values, user, {"dataset": dataset, "arch": arch, "preset": preset})
    rounds = values["rounds"]
    if isinstance(rounds, int) and rounds <= MOST_ROUNDS:
        for name in ("probe_rounds", "transfer_rounds"):
            if values[name] == "all":
                values[name] = list(range(1, rounds + 1))
            elif values[name] == "probed":
                values[name] = values["probe_rounds"]
            elif name not in user:
                values[name] = [r for r in values[name] if r <= rounds] or [rounds]
    try:
        # JSON, because pydantic is strict about its types: python's true is no 1 and '1' no number there
        recipe = Recipe.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        errors = error.errors()  # errors of other fields may follow from the user's
        first = next((each for each in errors if each["loc"] and each["loc"][0] in user), errors[0])
        raise RecipeError(f"{title}: {_sentence(first)}") from error
    check_epochs(recipe, title)
    _check_trained(recipe, changes, title)
    try:
        completed = find_architecture(arch).complete(recipe.model)
    except ValueError as error:
        raise RecipeError(str(error)) from error
    return recipe.model_copy(update={"model": dict(completed)})


def check_epochs(recipe: Recipe, title: str) -> None:
    """Refuse a warm-up, and the first epoch of a final training, that the training's epochs do not hold.

    Raises:
        RecipeError: of a recipe that ``title`` names.
    """
    _check_first_epochs(recipe, title)
    _check_warm_ups(recipe, title)


def _check_trained(recipe: Recipe, changes: Sequence[Mapping[str, Any]], title: str) -> None:
    """Refuse what names transfers that are not trained, unless ``transfers`` was narrowed later."""
    last_layer = {field: position for position, layer in enumerate(changes) for field in layer}
    starts = [name for named in recipe.landscapes for name in named if name != "retrain"]
    first = [name for name in recipe.first_epochs if name != "retrain"]
    for field, names in (("twins", recipe.twins), ("landscapes", starts), ("first_epochs", first)):
        untrained = [name for name in names if name not in recipe.transfers]
        if untrained and last_layer.get(field, -1) >= last_layer.get("transfers", 0):
            raise RecipeError(
                f"{title}: {field}: {untrained[0]} is not among the transfers; add it there, or leave it out of {field}"
            )


def _check_first_epochs(recipe: Recipe, title: str) -> None:
    """Refuse final trainings that begin after their end, and unknown starts."""
    starts = [name for name in recipe.known_transfers if name != "dense"]
    for name, epoch in recipe.first_epochs.items():
        if name not in starts:
            raise RecipeError(f"{title}: first_epochs: {unknown('start', name, starts)}")
        if epoch >= recipe.final_epochs:
            raise RecipeError(
                f"{title}: first_epochs.{name} is {epoch}, and final_epochs is {recipe.final_epochs}, so nothing would "
                f"be trained; give at most {recipe.final_epochs - 1}"
            )


def _check_warm_ups(recipe: Recipe, title: str) -> None:
    """Refuse a warm-up that is longer than the schedule of a training which has it."""
    for field, rules, lengths in _trainings(recipe):
        epochs = None if rules.warm_up is None else length_epochs(rules.warm_up)
        shortest = min(lengths, key=lambda name: getattr(recipe, name), default=None)
        if epochs is not None and shortest is not None and epochs > (most := getattr(recipe, shortest)):
            raise RecipeError(
                f"{title}: {field}: its warm-up takes {epochs:g} epochs, and {shortest} is {most}; set "
                f"{field}.warm_up.options.epochs to at most {most}, or raise {shortest}"
            )


def _trainings(recipe: Recipe) -> Iterator[tuple[str, Rules, set[str]]]:
    """The fields that say what happens in trainings, and the fields with the epochs of those trainings' schedules."""
    yield "final_training", recipe.final_training, {"final_epochs"}
    for name in recipe.methods:
        method = recipe.known_methods[name]
        own = "final_epochs" if method.schedule == "final" else "pretrain_epochs"
        of_rounds = "round_epochs" if method.schedule == "rounds" or method.schedule_from == "end" else "final_epochs"
        zero = set() if method.prune_at == 0 else {own}
        rounds = {of_rounds if method.schedule_from != "reset" else own}
        skipped = method.prune_at is not None and not method.sparse_training
        field = "round_training" if method.training.warm_up is None else f"own_methods.{name}.training"
        yield field, recipe.round_training.under(method.training), zero if skipped else zero | rounds


def unknown_field(layer: Mapping[str, Any]) -> str | None:
    """A sentence about the first name in a layer that is no field of a recipe; None if all are."""
    try:
        Recipe.model_validate(layer)
    except ValidationError as error:
        return next((_sentence(each) for each in error.errors() if each["type"] in UNKNOWN_FIELD), None)
    return None


def _sentence(error: ErrorDetails) -> str:
    if error["type"] not in UNKNOWN_FIELD:
        return unfit(error)
    *outer, name = (str(part) for part in error["loc"])
    if outer:
        return unknown("field", name, [each.name for each in fields(_kind(outer))], ".".join([*outer, ""]))
    nested = [f"{of}.{each.name}" for of, kind in NESTED.items() for each in fields(kind)]
    return unknown("field", name, [*Recipe.model_fields, *nested])


def _kind(place: Sequence[str]) -> Any:
    """The dataclass at a place of a recipe, such as that of a rule in ``round_training.mask_rule``."""
    kind: Any = {**NESTED, **OWN}[place[0]]
    for name in place[2 if place[0] in OWN else 1 :]:
        of_field = get_type_hints(kind)[name]
        kind = next(each for each in (of_field, *get_args(of_field)) if is_dataclass(each))
    return kind


def unfit(error: ErrorDetails) -> str:
    """A sentence about a value that does not fit, after its field; errors about Python's types in words of YAML."""
    place, value = error["loc"], error["input"]
    if (place[:1] == ("model",) and len(place) == 3) or place[-3:-2] == ("options",):
        # pydantic adds the first of the types that an option may have
        place, error = place[:-1], {**error, "type": "option_type"}
    field = ".".join(str(part) for part in place)
    sentence = error["msg"].removeprefix("Value error, ")
    if error["type"] == "tuple_type":
        listed = "landscapes" if field.startswith("landscapes.") else field
        example = LISTS.get(listed, f"[{value}]" if isinstance(value, str | int | float) else None)
        sentence = f"expected a list, such as {example}" if example else "expected a list"
    elif error["type"] in TYPES:
        sentence = f"expected {TYPES[error['type']]}, not {_in_yaml(value)}"
    elif error["type"] in BOUNDS:
        word, name = BOUNDS[error["type"]]
        sentence = f"expected a number {word} {error['ctx'][name]:g}, not {_in_yaml(value)}"
    elif error["type"] == "missing":
        sentence = "has no default; give it"
    elif error["type"] == "literal_error":
        sentence = f"expected {error['ctx']['expected']}, not {value!r}"
    return f"{field}: {sentence}" if field else sentence


def _in_yaml(value: Any) -> str:
    """A value as a file has it: a text in quotes, and true, false or null."""
    return repr(value) if isinstance(value, str) else json.dumps(value)
