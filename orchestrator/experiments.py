"""From what a user names to experiments: recipes whose data was found and whose networks the method has rules for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from orchestrator.plan import Experiment
from orchestrator.recipes import Recipe, RecipeError, resolve, unknown
from tickets import UnknownLayerError, parameter_roles
from workers.data import DATA_SETS, fingerprint, open_data
from workers.execution import Execution
from workers.models import ARCHITECTURES


def find_experiments(
    datasets: Sequence[str],
    archs: Sequence[str] | None,
    preset: str,
    changes: Sequence[Mapping[str, Any]],
    execution: Execution,
) -> list[Experiment]:
    """Every data set with every architecture (None: the data set's own), checked before any work starts.

    Raises:
        RecipeError: an unknown name, or a recipe or network that cannot be used.
        DataError: data that is not where it is expected.
    """
    for name in datasets:
        if name not in DATA_SETS:
            raise RecipeError(unknown("data set", name, DATA_SETS))
    if not datasets:
        raise RecipeError(f"--datasets names none; known: {', '.join(sorted(DATA_SETS))}")
    wanted: Sequence[str | None] = archs or [None]
    pairs = dict.fromkeys((dataset, arch) for dataset in datasets for arch in wanted)
    return [_experiment(resolve(dataset, arch, preset, changes), execution) for dataset, arch in pairs]


def _experiment(recipe: Recipe, execution: Execution) -> Experiment:
    """A recipe with its data found and its network known to be one that the method has rules for."""
    if recipe.arch not in ARCHITECTURES:
        raise RecipeError(unknown("architecture", recipe.arch, ARCHITECTURES))
    root = Path(execution.data_root) if execution.data_root else None
    found = fingerprint(recipe.dataset, root, Path(execution.data_cache))
    data_set, architecture = DATA_SETS[recipe.dataset], ARCHITECTURES[recipe.arch]
    try:
        with torch.device("meta"):
            model = architecture.build(in_channels=data_set.channels, num_classes=data_set.num_classes, **recipe.model)
        parameter_roles(model, data_set.num_classes)
        empty = [name for name, parameter in model.named_parameters() if not parameter.numel()]
        if empty:
            raise ValueError(f"{empty[0]} has no element")
    except (TypeError, ValueError, RuntimeError, UnknownLayerError) as error:
        raise RecipeError(f"architecture {recipe.arch} with {dict(recipe.model)}: {error}") from error
    return Experiment(recipe, found, architecture.version)


def prepare_data(experiments: Sequence[Experiment], execution: Execution, say: Callable[[str], None]) -> None:
    """Decode every data set now, so that what is wrong with one is said before anything runs.

    Raises:
        DataError: it cannot be downloaded, read or cached.
    """
    root, cache = Path(execution.data_root) if execution.data_root else None, Path(execution.data_cache)
    for name, found in dict.fromkeys((e.recipe.dataset, e.data_fingerprint) for e in experiments):
        if not (cache / f"{name}-{found}").exists():
            say(f"Preparing {name} once, in {cache} …")
        open_data(name, found, root, cache)
