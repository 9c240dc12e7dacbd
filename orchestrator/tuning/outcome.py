"""A search's own files, the table of its best trials, and the winner as a recipe file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from orchestrator.store import StoreError
from orchestrator.tuning.definition import Definition, differences
from orchestrator.tuning.space import describe_point
from tickets.files.writing import write_atomically
from workers.terminal.console import Console

DEFINITION = "search.json"
SHOWN = 10


@dataclass(frozen=True)
class Found:
    """How a trial ended.

    Attributes:
        rungs: depth and validation accuracy in percent of every rung that it reached.
        error: why it failed; None if it did not.
    """

    number: int
    point: Mapping[str, Any]
    rungs: tuple[tuple[float, float], ...]
    diverged: bool
    error: str | None

    @property
    def depth(self) -> float:
        """Of its last rung, in rounds of the recipe's own prune fraction; 0 before the first."""
        return self.rungs[-1][0] if self.rungs else 0.0

    @property
    def accuracy_percent(self) -> float:
        """Validation accuracy on its last rung."""
        return self.rungs[-1][1] if self.rungs else 0.0


def check_same_search(root: Path, definition: Definition) -> None:
    """Raise StoreError if a folder holds another search, with what differs, or something else than a search."""
    path = root / DEFINITION
    if not path.exists():
        strange = [found.name for found in root.iterdir() if not found.name.startswith(".")] if root.is_dir() else []
        if strange:
            raise StoreError(f"--store {root}: it holds {sorted(strange)[0]} and no search; give a folder of its own")
        return
    try:
        old = Definition.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise StoreError(f"{path} is no search of this version; give another --store") from error
    differing = differences(old, definition)
    if differing:
        raise StoreError(f"--store {root} holds another search: {differing[0]}; give another --store")


def write_definition(root: Path, definition: Definition) -> None:
    """Keep what is searched for, so that another search is refused in its folder."""
    write_atomically(root / DEFINITION, definition.model_dump_json(indent=1).encode())


def check_out(out: Path, root: Path) -> Path:
    """The recipe file's absolute path; StoreError unless it can be written there when the search has ended."""
    out = out.absolute()
    if out.is_dir() or not (out.parent.is_dir() or out.parent == root):
        raise StoreError(f"--out {out}: expected a file in a folder that exists")
    return out


def ranked(found: Sequence[Found]) -> list[Found]:
    """The best first: by how deep a trial went, then by its accuracy there."""
    return sorted(found, key=lambda trial: (-trial.depth, -trial.accuracy_percent, trial.number))


def winner(found: Sequence[Found]) -> Found | None:
    """The most accurate of the trials that went deepest without an error; None when there is none."""
    return next((trial for trial in ranked(found) if trial.rungs and not trial.diverged and not trial.error), None)


def print_best(console: Console, found: Sequence[Found]) -> None:
    """A table of the best trials and of those that failed."""
    table = Table("trial", box=None, pad_edge=False)
    for column in ("depth", "validation %"):
        table.add_column(column, justify="right")
    table.add_column("what it changes", overflow="fold")
    best = [trial for trial in ranked(found) if trial.error is None][:SHOWN]
    for trial in [*best, *(trial for trial in found if trial.error is not None)]:
        accuracy = "diverged" if trial.diverged else f"{trial.accuracy_percent:.2f}"
        said = f"failed: {trial.error}" if trial.error else describe_point(trial.point)
        table.add_row(str(trial.number), f"{trial.depth:g}", accuracy if not trial.error else "", escape(said))
    console.print(table)


def recipe_text(definition: Definition, best: Found, layer: Mapping[str, Any], argv: Sequence[str]) -> str:
    """A recipe file for ``sweep --recipe``: what was searched in comments, then the fields."""
    recipe = definition.recipe
    start = "the recipe as it stood" if not best.point else f"trial {best.number}: {describe_point(best.point)}"
    comments = [
        f"Best of {definition.trials} trials for {recipe.dataset}/{recipe.arch}, preset {recipe.preset}; {start}.",
        f"The signed transfer's validation accuracy: {best.accuracy_percent:.2f} % at density {definition.density:.3g}",
        f"after {definition.final_epochs} epoch(s) of final training; the test set was not read.",
        f"Seed {definition.seed}; space: {', '.join(f'{name}={value}' for name, value in definition.space.items())}.",
        f"Command: {shlex.join(argv)}",
    ]
    head = "".join(f"# {line}\n" for line in comments)
    return head + (yaml.safe_dump(dict(layer), sort_keys=False) if layer else "{}\n")
