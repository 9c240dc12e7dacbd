"""Runs a sample of a store's stages again, with progress, and writes the statement and the badge."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from orchestrator.backends.base import BackendError
from orchestrator.session.preparation import prepare_data_set
from orchestrator.session.rerun.again import StageAgain, run_again
from orchestrator.session.rerun.sample import Sample, draw
from orchestrator.session.rerun.statement import Statement, drawn_badge, statement
from orchestrator.store import Store
from orchestrator.store.layout import BADGE, RERUN, slug
from orchestrator.store.record import Record
from orchestrator.terminal.arguments import checked_execution
from orchestrator.terminal.options import ExecutionOptions
from workers.data import DataError
from workers.plugins import PluginError
from workers.stages import Imported
from workers.stages.execution import Execution
from workers.storage import open_storage
from workers.terminal.command import one_sentence
from workers.terminal.console import Console
from workers.terminal.numbers import duration
from workers.terminal.options import StageOptions

NAMED = 5
"""Stages to name at most before they run."""


def draw_prepared(store: Store, count: int, seed: int, options: StageOptions) -> tuple[Sample, Execution]:
    """Draw the stages to run again, and prepare their data; exit with one sentence if an option or the data is bad.

    Raises:
        StoreError: fewer stages can be run again.
    """
    with one_sentence(BackendError, DataError, PluginError):
        execution = checked_execution("inline", ExecutionOptions(**vars(options)))
        sample = draw(store, count, seed)
        for spec in {stage.setting.data: None for _, stage in sample.stages if not isinstance(stage, Imported)}:
            prepare_data_set(spec, execution, Console(stderr=True))
    return sample, execution


def run_sample(
    store: Store, sample: Sample, execution: Execution, scratch: Path | None, badge: Path | None, out: Console
) -> Statement:
    """Run the drawn stages again, one after another, and write what this shows.

    Args:
        scratch: a folder to run in, where the output of stages that differ stays; None for a temporary one.
        badge: the folder of the statement and the badge; None for the store.

    Raises:
        StoreError: a file of the store is missing, or differs from its record.
        OSError: a folder cannot be written.
    """
    names = [record.name for record, _ in sample.stages[:NAMED]]
    more = f" and {len(sample.stages) - NAMED} more" if len(sample.stages) > NAMED else ""
    for reason, number in sample.passed_over.items():
        out.print(f"passed over: {number} of the stages drawn: {reason}")
    out.print(
        f"Running {len(sample.stages)} of {sample.finished} stages again, drawn with --seed {sample.seed}: "
        f"{', '.join(names)}{more}. They took {duration(sample.recorded_s)} when recorded."
    )
    rerun_statement = statement(sample, _run_all(store, sample, execution, scratch, out))
    place = store.storage if badge is None else open_storage(badge)
    if rerun_statement.outcome == "same bits":
        place.write(BADGE, drawn_badge(rerun_statement).encode())
    else:
        place.remove([BADGE])  # of an earlier rerun
    place.write(RERUN, rerun_statement.model_dump_json(indent=1).encode())
    out.print(f"{rerun_statement.sentence} {', '.join(rerun_statement.not_compared)} is not compared.")
    written = f"{BADGE} and {RERUN}" if rerun_statement.outcome == "same bits" else f"{RERUN}, and no badge"
    out.print(f"Written to {place.root}: {written}")
    return rerun_statement


def _run_all(
    store: Store, sample: Sample, execution: Execution, scratch: Path | None, out: Console
) -> list[StageAgain]:
    """Run the stages again, each in a folder of its own; print a line for each that ends, and show how far it is."""
    terminal = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    ended: list[StageAgain] = []
    with (
        Progress(*columns, console=terminal, disable=out.quiet or not terminal.is_terminal) as bars,
        tempfile.TemporaryDirectory(prefix="winning-sign-", dir=scratch) as folder,
    ):
        bar = bars.add_task("", total=len(sample.stages))
        for record, stage in sample.stages:
            work = Path(folder) / record.key
            work.mkdir()
            bars.update(bar, description=record.name)

            def report(progress: dict[str, object], name: str = record.name) -> None:
                bars.update(bar, description=f"{name}, epoch {progress['epoch']} of {progress['epochs']}")

            again = run_again(store, record, stage, execution, work, report)
            ended.append(again)
            bars.update(bar, advance=1)
            out.print(f"{_outcome(again)}: {again.name} ({duration(again.seconds)})")
            for difference in again.differences:
                out.print(f"  {difference}")
            if scratch is not None and not again.same and (work / "out").is_dir():
                out.print(f"  its output now: {_kept(work / 'out', record, scratch)}")
    return ended


def _kept(output: Path, record: Record, scratch: Path) -> Path:
    """Move a stage's output to a new folder in ``scratch``."""
    folder = Path(tempfile.mkdtemp(prefix=f"{slug(record.name)}-", dir=scratch)) / output.name
    return output.rename(folder)


def _outcome(again: StageAgain) -> str:
    if again.error:
        return f"could not be run again ({again.error})"
    if again.same:
        return "same bits"
    return "OTHER BITS" if again.failed else "other bits, on another kind of machine"
