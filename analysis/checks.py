"""The method's rules, verified on a store's own files and records: a checklist.

>>> analysis.checks.checks(Store("runs/mnist1d"), load("runs/mnist1d"))    # or: python -m analysis.checks runs/mnist1d
"""

from __future__ import annotations

import json
from typing import Annotated

import pandas as pd
import typer
from rich.table import Table

from analysis.frames.load import Frames, load
from analysis.rules.cache import Memory
from analysis.rules.files import Looks
from analysis.rules.finding import Finding
from analysis.rules.masks import masks
from analysis.rules.pairs import same_initialisation, same_masks, sgd_noise_only
from analysis.rules.protocol import artifacts, aws_in_rounds_only, one_recipe, reads_of_the_test_set
from orchestrator.store import Store, StoreError
from workers.terminal.console import Console, visible

COLUMNS = ("rule", "verdict", "counted", "detail")
COLOURS = {"holds": "green", "broken": "bold red", "not checked": "yellow"}
PATIENCE_S = 20.0
"""With masks and weights that nobody has looked into yet, when a page is made; the next one goes on."""
app = typer.Typer(add_completion=False)


def checks(store: Store, frames: Frames, *, patience_s: float | None = None) -> pd.DataFrame:
    """Verify the method's rules on what is drawn.

    What was found in the masks and weights of a committed stage is kept in the user's cache, since it cannot change.

    Args:
        frames: of the store or of one of its sections: their stages are looked at, without superseded ones.
        patience_s: give up opening files after so many seconds; what is left is counted as not checked.

    Returns:
        One row per rule: ``rule`` (a sentence), ``verdict`` ("holds", "broken" or "not checked"), ``counted`` (how
        many things were looked at) and ``detail`` (which stages break it, why others were not checked, notes).

    Raises:
        StoreError: a record is damaged.
    """
    everything = store.records()
    drawn = frames.stages.loc[~frames.stages["superseded"], "key"]
    records = [everything[key] for key in drawn if key in everything]
    probes = [record for record in records if record.kind == "probe"]
    memory = Memory.of(store)
    looks = Looks(store, everything, memory, patience_s)
    try:
        found = masks(records, looks)
    finally:
        memory.save()  # of an interrupted look as well: a large store is not begun anew
    return _table(
        [
            *found,
            same_masks(probes, everything),
            sgd_noise_only(probes, everything),
            same_initialisation(records),
            reads_of_the_test_set(frames.metrics[~frames.metrics["superseded"]]),
            aws_in_rounds_only(records, everything),
            one_recipe(records),
            artifacts(records, store, looks.unreadable),
        ]
    )


def _table(findings: list[Finding]) -> pd.DataFrame:
    rows = [{name: getattr(finding, name) for name in COLUMNS} for finding in findings]
    return pd.DataFrame(rows, columns=list(COLUMNS))


@app.command()
def check(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The folder or URL of a sweep's store.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Verify the method's rules on a store's own files and records; the exit code is 1 if one is broken."""
    try:
        frames = load(store, tickets=False)
        if frames.stages.empty:
            raise StoreError(f"{store}: no stage is done in this folder; give the folder of a sweep's store")
        with Console(stderr=True).status("looking into masks and weights"):
            found = checks(Store(store), frames)
    except (StoreError, OSError) as error:
        typer.echo(visible(f"winning-sign-checks: {error}"), err=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps({"store": store, "checks": found.to_dict("records")}, indent=1))
    else:
        _show(found)
    raise typer.Exit(1 if (found["verdict"] == "broken").any() else 0)


def _show(found: pd.DataFrame) -> None:
    table = Table("verdict", "rule", box=None, pad_edge=False)
    table.add_column("looked at", justify="right")
    table.add_column("detail")
    for row in found.to_dict("records"):
        cells = (row["verdict"], row["rule"], f"{row['counted']:,}", row["detail"])
        table.add_row(*cells, style=COLOURS[row["verdict"]] if row["verdict"] != "holds" else None)
    # names come from the store, and are never taken for markup
    Console(markup=False, highlight=False, emoji=False).print(table)


def main() -> None:
    """The command line's entry point."""
    app()


if __name__ == "__main__":
    main()
