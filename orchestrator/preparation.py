"""Every data set is prepared before anything runs, and a person sees how far that is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrator.plan import Experiment
from orchestrator.progress import Stopwatch
from workers.data import open_data, prepared_folder
from workers.execution import Execution

LINE_INTERVAL_S = 30.0


def prepare_data(experiments: Sequence[Experiment], execution: Execution, console: Console) -> None:
    """Prepare every data set now, so that what is wrong with one is said before anything runs.

    Raises:
        DataError: it cannot be downloaded, read or cached.
    """
    root, cache = Path(execution.data_root) if execution.data_root else None, Path(execution.data_cache)
    for name, found in dict.fromkeys((e.recipe.dataset, e.data_fingerprint) for e in experiments):
        if not prepared_folder(name, found, cache).exists():
            console.print(f"Preparing {name} once, in {cache} …", highlight=False, markup=False, soft_wrap=True)
        with _Display(console) as display:
            open_data(name, found, root, cache, display.show)


class _Display:
    """A bar for each part of the work on a terminal, else a line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stopwatch = Stopwatch(LINE_INTERVAL_S)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> _Display:
        self._bars.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if not self._bars.disable:  # an older rich would end even what never began with an empty line
            self._bars.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """Say how far a part of the work is; called when it begins as well."""
        if self._console.is_terminal:
            bar = next((task.id for task in self._bars.tasks if task.description == what), None)
            bar = self._bars.add_task(what) if bar is None else bar
            self._bars.update(bar, completed=done, total=total)
        elif self._stopwatch.due():
            self._console.print(f"{what}: {done:,} of {total:,}", highlight=False, markup=False, soft_wrap=True)
