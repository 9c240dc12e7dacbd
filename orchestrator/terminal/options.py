"""Options that several commands of the orchestrator share; ``workers.terminal.options`` has those of a single stage."""

from __future__ import annotations

from typing import Annotated

import typer

Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a field of the recipe; repeatable.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE|MODULE",
        help="Python with your data sets, architectures, criteria, transfers and probes; repeatable.",
    ),
]
CheckpointInterval = Annotated[
    float, typer.Option(metavar="SECONDS", min=0, help="Time between checkpoints inside a training.")
]
