"""The hours in orchestrator/experiments/README.md are those that a plan foresees from the durations stated there."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.recipes.experiment_file import read_experiment
from orchestrator.scheduling.estimate import Estimates
from orchestrator.scheduling.forecast import forecast
from tests.orchestrator.recipes.test_experiment_files import FILES, FOLDER, planned

pytestmark = pytest.mark.slow(seconds=20)

SECTION = (FOLDER / "README.md").read_text().partition("## Hours")[2]
GPUS = (1, 8, 64)


def table(first: str) -> list[list[str]]:
    """The cells of the section's table whose head begins with a word, its head first."""
    rows = SECTION.partition(f"| {first}")[2].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in [f"| {first}{rows[0]}", *rows[2:]]]


def stated() -> dict[str, float]:
    """Seconds of an epoch by data set and architecture."""
    (_, *datasets), *rows = table("network")
    return {
        f"{dataset}/{network.strip('`')}": float(cell.replace(",", ""))
        for network, *cells in rows
        for datasets_of_column, cell in zip(datasets, cells, strict=True)
        for dataset in datasets_of_column.replace("`", "").split(", ")
        if cell
    }


def foreseen(file: Path) -> list[str]:
    """A row of the table: hours on 1, 8 and 64 GPUs."""
    plan, estimates = planned(read_experiment(file)), Estimates([], stated=stated())
    hours = []
    for gpus in GPUS:
        makespan_s = forecast(plan, (), estimates, gpus).makespan_s
        assert makespan_s is not None, f"state a duration for every network of {file.name}"
        hours.append(f"{makespan_s / 3600:,.{makespan_s < 36_000:d}f}")
    return [f"[{file.name}]({file.name})", *hours]


def test_the_hours_of_every_experiment_are_those_that_a_plan_foresees() -> None:
    head, *rows = table("study")
    assert head == ["study", "1 GPU", "8 GPUs", "64 GPUs"]
    expected = {file.name: foreseen(file) for file in FILES}
    shown = "\n".join(f"| {' | '.join(row)} |" for row in expected.values())
    assert sorted(rows) == sorted(expected.values()), f"the table's rows:\n{shown}"
