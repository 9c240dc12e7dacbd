"""Run one stage alone: ``python -m workers.run STAGE.json --out DIR``. No Ray is needed."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.markup import escape

from tickets import TicketError
from workers.attempts.execute import run_stage
from workers.data import DataError, default_cache
from workers.plugins import PluginError
from workers.stages.execution import Control, Execution, Interrupted
from workers.stages.job import JobError, read_job
from workers.terminal.console import Console
from workers.terminal.options import CudaGraphs, DataCache, DataRoot, Deterministic, LoaderWorkers
from workers.training.gang.member import GangSizeError, joining, own_device

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Example: python -m workers.run sweeps/stages/train/…/stage.json --out /tmp/again --device cuda")
def run(
    stage: Annotated[Path, typer.Argument(help="A stage.json of a store.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the artifacts; created.", show_default=False)],
    store: Annotated[
        Path | None, typer.Option(help="Root of the store with its inputs; by default the one that holds STAGE.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or auto.")] = "auto",
    data_root: DataRoot = None,
    data_cache: DataCache = None,
    plugin: Annotated[
        list[str] | None, typer.Option(help="File or module with your own, as the sweep's --plugin.")
    ] = None,
    loader_workers: LoaderWorkers = None,
    deterministic: Deterministic = True,
    cuda_graphs: CudaGraphs = True,
) -> None:
    """Compute one stage, with progress, and write its artifacts to a folder.

    The same stage gives the same bits as in its sweep. Ctrl-C checkpoints beside the artifacts; the same command
    resumes. A stage of a gang of N is computed by ``python -m torch.distributed.run --nproc-per-node N -m
    workers.run …``.
    """
    quiet = os.environ.get("RANK", "0") != "0"
    console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False, emoji=False, quiet=quiet)
    stopped = False

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    try:
        job = read_job(stage)
        root = store or _store_of(stage, bool(job.inputs))
        execution = Execution(
            device=own_device(device),
            data_root=str(data_root) if data_root else None,
            data_cache=str(data_cache or default_cache()),
            plugins=tuple(plugin or ()),
            loader_workers=loader_workers,
            cuda_graphs=cuda_graphs,
            deterministic=deterministic,
        )
        control = Control(
            checkpoints=out / "checkpoint" / job.key,  # another stage's would fit, and be wrong
            should_stop=lambda: stopped,
            report=lambda p: console.print(f"epoch {p['epoch']}/{p['epochs']}  {p['accuracy_percent']:.2f} %"),
        )
        signal.signal(signal.SIGINT, stop)
        inputs = {name: root / path for name, path in job.inputs.items()}
        for name, folder in inputs.items():
            if not folder.is_dir():
                raise JobError(f"input {name!r} of {job.name} is not in {folder}; give --store, or run that stage")
        console.print(f"{job.name} ({job.stage.kind}) on {execution.torch_device}")
        with joining(execution.torch_device) as member:
            results = run_stage(job.stage, inputs, out, execution, control, key=job.key, member=member)
        shutil.rmtree(out / "checkpoint", ignore_errors=True)
    except Interrupted:
        console.print("Interrupted: checkpointed; the same command resumes.")
        raise typer.Exit(130) from None
    except (JobError, DataError, TicketError, PluginError, GangSizeError) as error:
        Console(stderr=True, soft_wrap=True).print(f"[red]Error:[/red] {escape(str(error))}", highlight=False)
        raise typer.Exit(2) from None
    for name, value in results.items():
        console.print(f"{name}: {value}")
    console.print(f"written to {out}")


def _store_of(stage: Path, needed: bool) -> Path:
    """{root}/stages/{kind}/{folder}/stage.json -> {root}."""
    parents = stage.absolute().parents
    if len(parents) > 3 and parents[2].name == "stages":
        return parents[3]
    if needed:
        raise JobError(f"{stage} does not lie in a store, so its inputs cannot be found; give --store")
    return stage.parent


def main() -> None:
    """Console entry point."""
    app()


if __name__ == "__main__":
    main()
