"""Check the method's rules on a store's files and records.

>>> analysis.checks.checks(Store("runs/mnist1d"), load("runs/mnist1d"))    # or: python -m analysis.checks runs/mnist1d
"""

from __future__ import annotations

import json
from typing import Annotated

import pandas as pd
import typer
from rich.table import Table

from analysis.frames.load import load
from analysis.rules.checklist import checks
from orchestrator.store import Store, StoreError
from workers.terminal.console import Console, visible

COLOURS = {"holds": "green", "broken": "bold red", "not checked": "yellow"}
app = typer.Typer(add_completion=False)


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
