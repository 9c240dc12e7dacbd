"""Options of the command line that every command which runs stages has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataRoot = Annotated[Path | None, typer.Option(help="Folder with your data sets.")]
DataCache = Annotated[Path | None, typer.Option(help="Folder for decoded data sets. Default: ~/.cache/winning-sign.")]
LoaderWorkers = Annotated[
    int | None,
    typer.Option(min=0, help="Processes that decode streamed images with PIL. Default: the GPU, or one process."),
]
Deterministic = Annotated[
    bool, typer.Option(help="On a GPU: same key, same bits; without it cuDNN tries for the fastest kernels.")
]
CudaGraphs = Annotated[bool, typer.Option(help="On a GPU: replay training steps as CUDA graphs.")]
