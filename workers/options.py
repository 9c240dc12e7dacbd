"""Options of the command line that every command which runs stages has."""

from __future__ import annotations

from typing import Annotated

import typer

LoaderWorkers = Annotated[
    int | None,
    typer.Option(min=0, help="Processes that decode streamed images with PIL. Default: the GPU, or one process."),
]
Deterministic = Annotated[
    bool, typer.Option(help="On a GPU: same key, same bits; without it cuDNN tries for the fastest kernels.")
]
CudaGraphs = Annotated[bool, typer.Option(help="On a GPU: replay training steps as CUDA graphs.")]
