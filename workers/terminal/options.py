"""Options that several commands share, each declared once. A dataclass stands for all its fields: ``add_command``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from workers.terminal.help import ADVANCED, DATA, WHAT, WHERE


def option(heading: str, help_text: str, *names: str, **settings: Any) -> Any:
    """Declare an option under a heading of the help page; settings are typer's, such as ``metavar`` and ``min``."""
    return typer.Option(*names, help=help_text, rich_help_panel=heading, **settings)


StorePath = Annotated[str, typer.Argument(metavar="STORE", help="Folder or URL of a sweep's store.")]
StorePaths = Annotated[list[str], typer.Argument(metavar="STORE…", help="Folders or URLs of sweeps' stores.")]
Published = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="CSV file with published results to add to those of the package: columns dataset, architecture, series, "
        "density, accuracy_percent and, optionally, source, settings and others (docs/report.md).",
    ),
]


@dataclass(frozen=True)
class StageOptions:
    """Options of every command that computes stages. No option here changes a stage's key."""

    plugin: Annotated[
        list[str] | None,
        option(
            WHAT,
            "Python that registers your data sets, architectures, criteria, transfers, probes or rules of training; "
            "repeatable.",
            metavar="FILE|MODULE",
        ),
    ] = None
    device: Annotated[str, option(WHERE, "cpu, cuda, cuda:N (in one process only) or auto: GPUs if there are any.")] = (
        "auto"
    )
    data_root: Annotated[Path | None, option(DATA, "Folder with your data sets.", metavar="FOLDER")] = None
    data_cache: Annotated[
        Path | None, option(DATA, "Folder for decoded data sets. Default: ~/.cache/winning-sign.", metavar="FOLDER")
    ] = None
    loader_workers: Annotated[
        int | None,
        option(
            ADVANCED,
            "Processes that decode streamed images with PIL. Default: decode on the GPU, else in one process.",
            metavar="N",
            min=0,
        ),
    ] = None
    deterministic: Annotated[
        bool, option(ADVANCED, "On a GPU: the same key gives the same bits. Without, cuDNN picks its fastest kernels.")
    ] = True
    cuda_graphs: Annotated[bool, option(ADVANCED, "On a GPU: replay training steps as CUDA graphs.")] = True
