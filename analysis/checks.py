"""``winning-sign checks``: checks the method's rules on the results of one store or several.

>>> analysis.checks.checks(Store("runs/mnist1d"), load("runs/mnist1d"))    # or: winning-sign checks runs/mnist1d
"""

from __future__ import annotations

import typer

from analysis.reading import read
from analysis.rules.checklist import checks
from orchestrator.store import StoreError
from workers.terminal.command import AsJson, add_command, console, new_app, one_sentence, print_json
from workers.terminal.options import StorePaths
from workers.terminal.tables import UncutTable, print_table

COLOURS = {"broken": "bold red", "not checked": "yellow"}
EXAMPLES = """
winning-sign checks sweeps
winning-sign checks s3://bucket/sweeps --json
winning-sign checks mine theirs
"""
app = new_app()


@add_command(app, EXAMPLES)
def check(stores: StorePaths, json_: AsJson = False) -> None:
    """Check the method's rules on the results of one store or several.

    Reads masks, weights, metrics and records. One rule is that a pruned weight never comes back. The exit code is 1 if
    a rule is broken.
    """
    with one_sentence(StoreError, OSError):
        reader, frames = read(stores, tickets=False, done=True)
        with console(stderr=True).status("reading masks and weights"):
            results = checks(reader, frames)
    if json_:
        print_json({"store": reader.root, "stores": frames.stores, "checks": results.to_dict("records")})
    else:
        table = UncutTable(["verdict"], ["checked"], ["rule", "detail"])
        for row in results.to_dict("records"):
            cells = (row["verdict"], f"{row['counted']:,}", row["rule"], row["detail"])
            table.add(*cells, style=COLOURS.get(row["verdict"]))
        print_table(console(), table)
    raise typer.Exit(1 if (results["verdict"] == "broken").any() else 0)


if __name__ == "__main__":
    app()
