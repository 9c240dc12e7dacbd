"""``winning-sign export``: the metrics of a store's stages for TensorBoard, MLflow or Weights & Biases."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.sinks.base import SinkError
from orchestrator.sinks.destination import Destination, parse_destinations
from orchestrator.sinks.export import export as export_to
from orchestrator.store import Store
from orchestrator.store.record import Record
from orchestrator.terminal.command import STORE_ERRORS, open_existing
from workers.terminal.command import add_command, console, new_app, one_sentence, print_error, tell_left_out
from workers.terminal.options import StorePath

EXAMPLES = """
winning-sign export sweeps --to tensorboard
winning-sign export sweeps --to tensorboard:logs --to wandb:my-project
winning-sign export s3://bucket/sweeps --to mlflow:http://127.0.0.1:5000
"""
app = new_app()


@add_command(app, EXAMPLES)
def export(
    store: StorePath,
    to: Annotated[
        list[str],
        typer.Option(
            metavar="TOOL[:PLACE]",
            help="tensorboard:FOLDER (default: runs), mlflow:URI (default: MLflow's own) or wandb:PROJECT (default: "
            "winning-sign); repeatable.",
        ),
    ],
) -> None:
    """Write metrics for TensorBoard, MLflow or Weights & Biases.

    Every finished stage becomes one run with its parameters, its metrics by epoch, its results and the path of its
    folder, in a group for its chain and round. A stage is written once: repeat the command to add what has finished
    since. The store is only read.
    """
    with one_sentence(SinkError, *STORE_ERRORS):
        destinations = parse_destinations(to)
        opened, damaged = open_existing(store), dict[str, str]()
        records = [*opened.records(damaged).values()]
        tell_left_out(damaged, store)
    exported = [_export(opened, records, destination) for destination in destinations]
    raise typer.Exit(0 if all(exported) else 1)


def _export(store: Store, records: list[Record], destination: Destination) -> bool:
    """Write to one destination and print what was done, or in one sentence why it failed; whether it succeeded."""
    try:
        done = export_to(store, records, destination)
    except Exception as error:  # a tool raises what it likes
        reason = " ".join(str(error).split()) or "no reason given"
        print_error(f"{destination}: {type(error).__name__}: {reason}")
        return False
    tell_left_out(done.left_out, store.root)
    console().print(f"{destination}: {done.logged} stages written, {done.earlier} were there already.")
    return True


if __name__ == "__main__":
    app()
