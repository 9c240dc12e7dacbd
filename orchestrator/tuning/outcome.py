"""The outcome of a search: its files, the table of its best trials, and the winner's recipe file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from orchestrator.store import StoreError
from orchestrator.tuning.definition import Definition, differences
from orchestrator.tuning.space import describe_point
from tickets.files.reading import UnreadableFileError, read_regular
from tickets.files.writing import write_atomically
from workers.data import change
from workers.terminal.console import Console
from workers.terminal.tables import UncutTable, print_table

DEFINITION = "search.json"
SHOWN = 10


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial.

    Attributes:
        point: the trial's changes, by dotted field.
        rungs: depth, and validation accuracy in percent, of every rung that the trial reached.
        diverged: whether a training diverged, which ends the trial.
        error: the reason of a failure; None without a failure.
    """

    number: int
    point: Mapping[str, Any]
    rungs: tuple[tuple[float, float], ...]
    diverged: bool
    error: str | None

    @property
    def depth(self) -> float:
        """Depth of the last rung, in rounds of the recipe's prune fraction; 0 before the first rung."""
        return self.rungs[-1][0] if self.rungs else 0.0

    @property
    def accuracy_percent(self) -> float:
        """Validation accuracy on the last rung; 0 before the first rung."""
        return self.rungs[-1][1] if self.rungs else 0.0


def check_same_search(root: Path, definition: Definition, data_cache: Path) -> None:
    """Raise StoreError if a folder holds another search, or anything but a search.

    Args:
        data_cache: remembers which files of a data set changed.
    """
    path = root / DEFINITION
    if not path.exists():
        strange = [path.name for path in root.iterdir() if not path.name.startswith(".")] if root.is_dir() else []
        if strange:
            raise StoreError(f"--store {root} holds {sorted(strange)[0]} but no search; give an empty folder")
        return
    try:
        old = Definition.model_validate_json(read_regular(path))
    except UnreadableFileError as error:
        raise StoreError(f"{error}; give another --store") from error
    except ValidationError as error:
        raise StoreError(f"{path} was written by another version; give another --store") from error
    differing = differences(old, definition)
    if differing:
        fingerprints = old.data_fingerprint, definition.data_fingerprint
        difference = change(definition.recipe.dataset, *fingerprints, data_cache) or differing[0]
        raise StoreError(f"--store {root} holds another search: {difference}; give another --store")


def write_definition(root: Path, definition: Definition) -> None:
    """Write the definition, so that the folder refuses any other search."""
    write_atomically(root / DEFINITION, definition.model_dump_json(indent=1).encode())


def check_out(out: Path, root: Path) -> Path:
    """The absolute path of the recipe file; StoreError unless its folder exists."""
    out = out.absolute()
    if out.is_dir() or not (out.parent.is_dir() or out.parent == root):
        raise StoreError(f"--out {out}: expected a file in an existing folder")
    return out


def ranked(results: Sequence[TrialResult]) -> list[TrialResult]:
    """Sort results, best first: by depth, then by accuracy at that depth."""
    return sorted(results, key=lambda trial: (-trial.depth, -trial.accuracy_percent, trial.number))


def winner(results: Sequence[TrialResult]) -> TrialResult | None:
    """The most accurate of the deepest trials without an error; None if no trial reached a rung."""
    return next((trial for trial in ranked(results) if trial.rungs and not trial.diverged and not trial.error), None)


def print_best(console: Console, results: Sequence[TrialResult]) -> None:
    """Print a table of the best trials, then the failed trials."""
    table = UncutTable(["trial"], ["depth", "validation %"], ["changes"])
    best = [trial for trial in ranked(results) if trial.error is None][:SHOWN]
    for trial in [*best, *(trial for trial in results if trial.error is not None)]:
        accuracy = "diverged" if trial.diverged else f"{trial.accuracy_percent:.2f}"
        changes = f"failed: {trial.error}" if trial.error else describe_point(trial.point)
        table.add(str(trial.number), f"{trial.depth:g}", accuracy if not trial.error else "", changes)
    print_table(console, table)


def recipe_text(definition: Definition, best: TrialResult, layer: Mapping[str, Any], argv: Sequence[str]) -> str:
    """The text of a recipe file for ``sweep --recipe``: the search in comments, then the fields."""
    recipe = definition.recipe
    changes = "the unchanged recipe" if not best.point else f"trial {best.number}: {describe_point(best.point)}"
    comments = [
        f"Best of {definition.trials} trials for {recipe.dataset}/{recipe.arch}, preset {recipe.preset}; {changes}.",
        f"Validation accuracy of the signed transfer: {best.accuracy_percent:.2f} %, at density "
        f"{definition.density:.3g},",
        f"after {definition.final_epochs} epoch(s) of final training; the test set was not read.",
        f"Seed {definition.seed}; space: {', '.join(f'{name}={value}' for name, value in definition.space.items())}.",
        f"Command: {shlex.join(argv)}",
    ]
    head = "".join(f"# {line}\n" for line in comments)
    return head + (yaml.safe_dump(dict(layer), sort_keys=False) if layer else "{}\n")
