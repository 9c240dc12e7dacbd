"""What each part was made with: its resolved recipe, and the command that makes it again."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import PurePath

import pandas as pd

from orchestrator.store.plans import PlannedRecipe, StoredPlan

SETTING = ("dataset", "architecture", "preset")
_CREDENTIALS = re.compile(r"(?<=//)[^/@\s]*@")
_QUERY = re.compile(r"(?<=://)([^?\s]*)\?\S*")


def recipes(plans: Iterable[StoredPlan]) -> pd.DataFrame:
    """Return the recipe of each part's last sweep, one row per field; sweeps of earlier versions have none.

    Args:
        plans: oldest first.

    Returns:
        ``dataset``, ``architecture``, ``preset``, ``field`` (dotted, such as "optimizer.learning_rate"), ``value`` and
        ``built_in`` (as JSON; ``built_in`` is missing if it is the value, "null" if the built-in recipe has no such
        field).
    """
    rows = [
        (*part, field, json.dumps(recipe.fields.get(field)), json.dumps(recipe.builtin[field]) if differs else None)
        for part, recipe in last_recipes(plans).items()
        for field in {**recipe.fields, **recipe.builtin}
        for differs in [field in recipe.builtin]
    ]
    return pd.DataFrame(rows, columns=[*SETTING, "field", "value", "built_in"], dtype="str")


def last_recipes(plans: Iterable[StoredPlan]) -> dict[tuple[str, str, str], PlannedRecipe]:
    """Return the recipe of each part's last sweep; sweeps of earlier versions have none.

    Args:
        plans: oldest first.
    """
    last = _last(plans)
    return {part: recipe for part, plan in last.items() for recipe in plan.recipes if recipe.section == part}


def commands(plans: Iterable[StoredPlan]) -> pd.DataFrame:
    """Return the command that makes each part again, as a shell reads it, without credentials and queries of URLs.

    Args:
        plans: oldest first.
    """
    rows = [(*part, command(plan.argv)) for part, plan in _last(plans).items()]
    return pd.DataFrame(rows, columns=[*SETTING, "command"], dtype="str")


def command(argv: Sequence[str]) -> str:
    """Write a sweep's arguments as a command of ``winning-sign``; URLs lose users, passwords and queries."""
    program, *rest = argv or [""]
    path = PurePath(program)
    if path.parent.name == "orchestrator":  # python -m orchestrator.sweep
        words = ["winning-sign"] if path.stem == "__main__" else ["winning-sign", path.stem.replace("_", "-")]
    else:
        words = ["winning-sign", *filter(None, [path.name.removeprefix("winning-sign").removeprefix("-")])]
    return shlex.join([*words, *(_QUERY.sub(r"\1?…", _CREDENTIALS.sub("…@", word)) for word in rest)])


def _last(plans: Iterable[StoredPlan]) -> dict[tuple[str, str, str], StoredPlan]:
    """Return the last sweep of each part."""
    last: dict[tuple[str, str, str], StoredPlan] = {}
    for plan in plans:
        if plan.self_contained:
            last |= {(s.labels.dataset, s.labels.architecture, s.labels.preset): plan for s in plan.stages}
    return last
