"""``winning-sign gc``: lists files that a store no longer needs, and removes them with ``--delete``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from orchestrator.operating.garbage import Category, Garbage, garbage
from orchestrator.operating.survey import Survey, survey
from orchestrator.store import Store, StoreError
from orchestrator.store.layout import COLLECTED, KEY_DIGITS
from orchestrator.store.leases import LeaseWatch
from orchestrator.terminal.command import STORE_ERRORS, open_existing
from orchestrator.terminal.units import size
from workers.terminal.command import AsJson, add_command, console, new_app, one_sentence, print_json, tell_left_out
from workers.terminal.console import Console
from workers.terminal.options import StorePath
from workers.terminal.tables import UncutTable, print_table

EXAMPLES = """
winning-sign gc sweeps
winning-sign gc sweeps --delete --keep-weights
"""
BATCH = 500
app = new_app()


@add_command(app, EXAMPLES)
def gc(
    store: StorePath,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the files. Default: only list them.")] = False,
    keep_weights: Annotated[
        bool,
        typer.Option("--keep-weights", help="Keep the weights of finished stages, for later sweeps that extend them."),
    ] = False,
    superseded: Annotated[
        bool,
        typer.Option(
            "--superseded",
            help="Also remove weights that only superseded plans need: a later sweep planned the same data set, "
            "architecture and preset.",
        ),
    ] = False,
    json_: AsJson = False,
) -> None:
    """List files that a store no longer needs, and remove them.

    Without --delete nothing changes. Records, tickets, metrics, probes, logs, events and plans always stay, and so do
    weights that an unfinished stage reads. A stage without its weights stays done; a sweep that needs the weights
    computes the stage again, to the same bits.
    """
    with one_sentence(*STORE_ERRORS):
        opened = open_existing(store)
        surveyed = survey(opened)
        files = list_garbage(opened, surveyed, keep_weights=keep_weights, superseded=superseded)
        tell_left_out(surveyed.left_out, store)
        if delete:
            remove(opened, files)
    if json_:
        categories = {category.value: {"files": count, "bytes": total} for category, count, total in _totals(files)}
        total, paths = sum(file.size_bytes for file in files), [file.path for file in files]
        counts = {"deleted": delete, "files": len(files), "bytes": total}
        print_json({**counts, "categories": categories, "paths": paths})
        return
    _show(console(), files, deleted=delete)


def list_garbage(store: Store, surveyed: Survey, *, keep_weights: bool, superseded: bool) -> list[Garbage]:
    """List every file that may be removed; StoreError if a plan is damaged, so that its sweep's needs are unknown."""
    for message in surveyed.damaged_plans.values():
        raise StoreError(message)
    planned = surveyed.wanted if superseded else {stage.key for plan in surveyed.plans for stage in plan.stages}
    records = {key[:KEY_DIGITS]: record for key, record in store.records(surveyed.left_out).items()}
    inputs = {
        key[:KEY_DIGITS]: {upstream[:KEY_DIGITS] for upstream in surveyed.stages[key].inputs.values()}
        for key in planned
    }
    return garbage(store.stages(), records, inputs, surveyed.other_files, surveyed.leases, keep_weights=keep_weights)


def remove(store: Store, files: Sequence[Garbage]) -> None:
    """Remove files; StoreError if a driver holds a lease, since it may be about to read them."""
    for start in range(0, len(files), BATCH):
        _check_no_driver(store)  # before every batch: a sweep may have begun meanwhile
        batch = files[start : start + BATCH]
        for file in batch:
            if file.artifact:  # before the file is gone, so that the stage counts as done all the time
                store.storage.write(file.path + COLLECTED, b"")
        store.storage.remove(file.path for file in batch)


def _check_no_driver(store: Store) -> None:
    living = LeaseWatch(store.storage).living()
    if living:
        names = ", ".join(f"{name} (pid {lease.pid} on {lease.host})" for name, lease in sorted(living.items()))
        raise StoreError(
            f"{store.root}: {names} holds a lease, so nothing was removed; wait for this driver, stop it with "
            f"winning-sign cancel, or if it is dead, remove its lease with winning-sign unlock --stale"
        )


def _totals(files: Iterable[Garbage]) -> list[tuple[Category, int, int]]:
    """(category, number of files, bytes) of each category that has files."""
    by_category: dict[Category, list[int]] = {category: [] for category in Category}
    for file in files:
        by_category[file.category].append(file.size_bytes)
    return [(category, len(sizes), sum(sizes)) for category, sizes in by_category.items() if sizes]


def _show(out: Console, files: list[Garbage], *, deleted: bool) -> None:
    if not files:
        out.print("There is nothing to remove.")
        return
    table = UncutTable(["removed" if deleted else "removable"], ["files", "bytes"])
    for category, count, total in _totals(files):
        table.add(category.value, str(count), size(total))
    table.add("all", str(len(files)), size(sum(file.size_bytes for file in files)), style="bold")
    print_table(out, table)
    if any(file.artifact for file in files):
        out.print("Stages without their weights stay done; a sweep that needs the weights computes them again.")
    if not deleted:
        out.print("Nothing was removed; give --delete to remove these files.")


if __name__ == "__main__":
    app()
