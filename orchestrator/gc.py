"""``python -m orchestrator.gc``: says what of a store may go, and removes it only when told to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.table import Table

from orchestrator.operating.garbage import Category, Garbage, garbage, tombstone
from orchestrator.operating.survey import Survey, survey
from orchestrator.store import Store, StoreError
from orchestrator.store.layout import KEY_DIGITS
from orchestrator.store.leases import LeaseWatch
from orchestrator.terminal.command import AsJson, StorePath, console, new_app, one_sentence, open_existing, print_json
from orchestrator.terminal.units import size
from workers.terminal.console import Console

EXAMPLES = """
Examples:

  python -m orchestrator.gc sweeps

  python -m orchestrator.gc sweeps --delete --keep-weights
"""
BATCH = 500
app = new_app()


@app.command(epilog=EXAMPLES)
def gc(
    store: StorePath,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it. Without this, nothing is touched.")] = False,
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Keep all weights of finished stages, for sweeps that extend these.")
    ] = False,
    superseded: Annotated[
        bool,
        typer.Option(
            "--superseded",
            help="Give up what only sweeps wanted that a later one over the same data set, architecture and preset "
            "has followed.",
        ),
    ] = False,
    json_: AsJson = False,
) -> None:
    """Say what of a store may go, in files and bytes; with --delete, remove it.

    Records, tickets, metrics, probes, logs, events and plans stay, and the weights that an unfinished stage of any
    plan reads. A stage whose weights went stays done; a sweep that reads them makes it anew, to the same bits.
    """
    with one_sentence():
        opened = open_existing(store)
        seen = survey(opened)
        found = list_garbage(opened, seen, keep_weights=keep_weights, superseded=superseded)
        if delete:
            remove(opened, found)
    if json_:
        print_json(
            {
                "deleted": delete,
                "files": len(found),
                "bytes": sum(one.size_bytes for one in found),
                "categories": {
                    category.value: {"files": files, "bytes": count} for category, files, count in _totals(found)
                },
                "paths": [one.path for one in found],
            }
        )
        return
    _show(console(), found, deleted=delete)


def list_garbage(store: Store, seen: Survey, *, keep_weights: bool, superseded: bool) -> list[Garbage]:
    """Everything that may go; ``superseded``: what only earlier plans of a setting want may go as well.

    Raises:
        StoreError: a plan is damaged, so that nobody knows what its sweep needs.
    """
    for message in seen.damaged_plans.values():
        raise StoreError(message)
    planned = seen.wanted if superseded else {stage.key for plan in seen.plans for stage in plan.stages}
    records = {key[:KEY_DIGITS]: record for key, record in store.records({}).items()}
    inputs = {
        key[:KEY_DIGITS]: {upstream[:KEY_DIGITS] for upstream in seen.stages[key].inputs.values()} for key in planned
    }
    return garbage(store.stages(), records, inputs, seen.other_files, seen.leases, keep_weights=keep_weights)


def remove(store: Store, found: Iterable[Garbage]) -> None:
    """Remove files, unless a driver is at work: what it is about to read must not go.

    Raises:
        StoreError: one is, or may be.
    """
    doomed = list(found)
    for start in range(0, len(doomed), BATCH):
        _check_nobody_is_at_work(store)  # again for each batch: a sweep may have begun
        batch = doomed[start : start + BATCH]
        for one in batch:
            if one.artifact:  # first: between the two the stage is done and can be read
                store.storage.write(tombstone(one.path), b"")
        store.storage.remove(one.path for one in batch)


def _check_nobody_is_at_work(store: Store) -> None:
    living = LeaseWatch(store.storage).living()
    if living:
        names = ", ".join(f"{name} (pid {lease.pid} on {lease.host})" for name, lease in sorted(living.items()))
        raise StoreError(
            f"{store.root}: {names} holds a lease, so nothing was removed; wait for it or stop it with "
            f"orchestrator.cancel, or if it is dead, remove its lease with orchestrator.unlock --stale"
        )


def _totals(found: Iterable[Garbage]) -> list[tuple[Category, int, int]]:
    by_category: dict[Category, list[int]] = {category: [] for category in Category}
    for one in found:
        by_category[one.category].append(one.size_bytes)
    return [(category, len(sizes), sum(sizes)) for category, sizes in by_category.items() if sizes]


def _show(out: Console, found: list[Garbage], *, deleted: bool) -> None:
    if not found:
        out.print("There is nothing to remove.")
        return
    table = Table("removed" if deleted else "may go", box=None, pad_edge=False)
    table.add_column("files", justify="right")
    table.add_column("bytes", justify="right")
    for category, files, count in _totals(found):
        table.add_row(category.value, str(files), size(count))
    table.add_row("all", str(len(found)), size(sum(one.size_bytes for one in found)), style="bold")
    out.print(table)
    if any(one.artifact for one in found):
        out.print("Without their weights stages stay done; a sweep that reads them makes them anew, to the same bits.")
    if not deleted:
        out.print("Nothing was removed; --delete removes it.")


if __name__ == "__main__":
    app()
