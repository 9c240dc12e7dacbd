"""Options that several commands share, each declared once. A dataclass stands for all its fields: ``add_command``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from workers.terminal.help import ADVANCED, DATA, WHAT, WHERE

StorePath = Annotated[str, typer.Argument(metavar="STORE", help="Folder or URL of a sweep's store.")]
Published = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="CSV file with published results to draw beside ours: columns dataset, architecture, series, density, "
        "accuracy_percent and, optionally, source.",
    ),
]


@dataclass(frozen=True)
class StageOptions:
    """Options of every command that computes stages. No option here changes a stage's key."""

    plugin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|MODULE",
            help="Python that registers your data sets, architectures, criteria, transfers or probes; repeatable.",
            rich_help_panel=WHAT,
        ),
    ] = None
    device: Annotated[
        str,
        typer.Option(
            help="cpu, cuda, cuda:N (in one process only) or auto: GPUs if there are any.", rich_help_panel=WHERE
        ),
    ] = "auto"
    data_root: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder with your data sets.", rich_help_panel=DATA)
    ] = None
    data_cache: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for decoded data sets. Default: ~/.cache/winning-sign.",
            rich_help_panel=DATA,
        ),
    ] = None
    loader_workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Processes that decode streamed images with PIL. Default: decode on the GPU, else in one process.",
            rich_help_panel=ADVANCED,
        ),
    ] = None
    deterministic: Annotated[
        bool,
        typer.Option(
            help="On a GPU: the same key gives the same bits. Without, cuDNN picks its fastest kernels.",
            rich_help_panel=ADVANCED,
        ),
    ] = True
    cuda_graphs: Annotated[
        bool, typer.Option(help="On a GPU: replay training steps as CUDA graphs.", rich_help_panel=ADVANCED)
    ] = True
