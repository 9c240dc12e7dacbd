"""The files of a crate besides its metadata: workflow, recipes, environment, report, tables, and a rerun's badge."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from analysis.frames.load import Frames
from analysis.page.export import export
from orchestrator.store.layout import BADGE, RERUN, slug
from orchestrator.store.plans import PlannedRecipe
from winning_sign import HOME

WORKFLOW = "workflow/algorithm.py"
ENVIRONMENT = "environment.json"
REPORT = "report.html"
README = "README.md"
TABLES = "tables"
RECIPES = "recipes"
_ABOUT = f"""\
# A lottery-ticket study, as a Workflow Run RO-Crate

| file | holds |
|---|---|
| `ro-crate-metadata.json` | what ran, when, on what, from which inputs to which results |
| `{REPORT}` | the report; works offline |
| `{TABLES}/` | all numbers: `results.json` for programs, each table as CSV and Parquet; `stages` has a row per stage |
| `{RECIPES}/` | each part's recipe; `winning-sign sweep … --recipe FILE` repeats it |
| `{WORKFLOW}` | the function that plans a sweep |
| `{ENVIRONMENT}` | machines, versions and commits |
| `{RERUN}`, `{BADGE}` | stages that were run again, if there are these files |

Weights and tickets stay in the store. Hosts are numbered, and folders outside of the store are cut.
"""
_ALGORITHM = HOME / "orchestrator" / "planning" / "algorithm.py"


def write_contents(
    frames: Frames, folder: Path, page: str, recipes: Iterable[PlannedRecipe], rerun: Mapping[str, bytes]
) -> None:
    """Write the files into an empty folder.

    Args:
        frames: as they may be published (``analysis.page.publishing.crate.public``).
        page: the report.
        recipes: of the store's parts.
        rerun: what ``winning-sign verify --rerun`` left in the store, by file name.

    Raises:
        OSError: the folder cannot be written.
    """
    for name in ("workflow", RECIPES, TABLES):
        (folder / name).mkdir()
    (folder / README).write_text(_ABOUT, encoding="utf-8")
    shutil.copyfile(_ALGORITHM, folder / WORKFLOW)
    for name, text in map(recipe_file, recipes):
        (folder / RECIPES / name).write_text(text, encoding="utf-8")
    (folder / ENVIRONMENT).write_text(json.dumps(environment(frames), indent=1), encoding="utf-8")
    export(frames, folder / TABLES)
    (folder / REPORT).write_text(page, encoding="utf-8")
    for name in (RERUN, BADGE):
        if name in rerun:
            (folder / name).write_bytes(rerun[name])


def recipe_file(recipe: PlannedRecipe) -> tuple[str, str]:
    """Return a file's name, and the recipe as YAML that ``--recipe`` takes back."""
    fields: dict[str, Any] = {}
    for dotted, value in recipe.fields.items():
        *outer, name = dotted.split(".")
        place = fields
        for each in outer:
            place = place.setdefault(each, {})
        place[name] = value
    options = f"--datasets {recipe.dataset} --archs {recipe.architecture} --preset {recipe.preset}"
    head = f"# The whole recipe of: winning-sign sweep {options} --recipe FILE\n"
    name = f"{slug(' '.join(recipe.section))}.yaml"
    return name, head + yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)


def environment(frames: Frames) -> dict[str, Any]:
    """Return what computed the stages, each with its number of stages: machines, versions and commits."""
    stages = frames.stages
    packages = frames.packages.groupby(["package", "version"], as_index=False).agg(stages=("key", "size"))
    return {
        "devices": _counts(stages["device"]),
        "processors": _counts(stages["processor"]),
        "python": _counts(stages["python"]),
        "packages": packages.to_dict("records"),
        "git_commits": _counts(stages["git_commit"]),
        "uncommitted_changes_blake2b": _counts(stages["git_dirty_blake2b"]),
    }


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(value): int(number) for value, number in values.value_counts().items()}
