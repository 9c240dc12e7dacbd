"""``winning-sign run``: computes one stage alone, without Ray."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import torch
import typer

from tickets import TicketError
from workers.attempts.execute import run_stage
from workers.data import DataError, default_cache
from workers.plugins import PluginError
from workers.stages.execution import Control, Execution, Interrupted, StageError
from workers.stages.job import JobError, read_job
from workers.terminal.command import add_command, console, new_app, one_sentence, print_error
from workers.terminal.help import DATA, OUTPUT
from workers.terminal.options import StageOptions, option
from workers.training.gang.member import GangSizeError, join_gang, rank_device

EXAMPLES = """
winning-sign run sweeps/stages/train/…/stage.json --out /tmp/again --device cuda
python -m torch.distributed.run --nproc-per-node 2 -m workers.run STAGE --out DIR   # a stage of 2 ranks
"""
app = new_app()


@add_command(app, EXAMPLES)
def run(
    *,
    stage: Annotated[
        Path, typer.Argument(metavar="STAGE", help="The stage.json of a stage in a store.", show_default=False)
    ],
    options: StageOptions,
    store: Annotated[
        Path | None,
        option(DATA, "Store with the inputs of the stage. Default: the store that holds STAGE.", metavar="STORE"),
    ] = None,
    out: Annotated[Path, option(OUTPUT, "New folder for the artifacts.", metavar="FOLDER", show_default=False)],
) -> None:
    """Compute one stage alone, in this process.

    Prints progress and writes the artifacts to a folder, with the same bits as in the sweep. Needs no Ray, so that a
    debugger or a profiler can watch it. Ctrl-C checkpoints, a second one exits at once; the same command resumes. A
    stage that N devices train together needs torch.distributed.run; see the examples.
    """
    out_console = console(stderr=True, quiet=os.environ.get("RANK", "0") != "0")
    stopped = False

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if stopped:  # a plugin or a file system may hang
            os._exit(130)
        stopped = True

    with one_sentence(JobError, DataError, TicketError, PluginError, GangSizeError, OSError):
        job = read_job(stage)
        if out.exists() and not out.is_dir():
            raise JobError(f"--out {out} is a file; give a new folder")
        root = store or _store_of(stage, bool(job.inputs))
        execution = Execution(
            device=rank_device(options.device),
            data_root=str(options.data_root) if options.data_root else None,
            data_cache=str(options.data_cache or default_cache()),
            plugins=tuple(options.plugin or ()),
            loader_workers=options.loader_workers,
            cuda_graphs=options.cuda_graphs,
            deterministic=options.deterministic,
        )
        if execution.device.startswith("cuda") and not torch.cuda.is_available():
            raise JobError(f"--device {execution.device}: this machine has no usable GPU; leave --device out")
        control = Control(
            checkpoints=out / "checkpoint" / job.key,  # by key: another stage's checkpoint would load, and be wrong
            should_stop=lambda: stopped,
            report=lambda p: out_console.print(f"epoch {p['epoch']}/{p['epochs']}  {p['accuracy_percent']:.2f} %"),
        )
        signal.signal(signal.SIGINT, stop)
        inputs = {name: root / path for name, path in job.inputs.items()}
        for name, folder in inputs.items():
            if not folder.is_dir():
                raise JobError(
                    f"input {name!r} of {job.name} is not in {folder}; give --store, or compute that stage first"
                )
        out_console.print(f"{job.name} ({job.stage.kind}) on {execution.torch_device}")
        try:
            with join_gang(execution.torch_device) as member:
                results = run_stage(job.stage, inputs, out, execution, control, key=job.key, member=member)
        except StageError as error:
            print_error(f"{job.name}: {error}")
            raise typer.Exit(1) from None
        except Interrupted:
            out_console.print("Interrupted after a checkpoint; the same command resumes.")
            raise typer.Exit(130) from None
        shutil.rmtree(out / "checkpoint", ignore_errors=True)
    for name, value in results.items():
        out_console.print(f"{name}: {value}")
    out_console.print(f"written to {out}")


def _store_of(stage: Path, needed: bool) -> Path:
    """{root}/stages/{kind}/{folder}/stage.json -> {root}."""
    parents = stage.absolute().parents
    if len(parents) > 3 and parents[2].name == "stages":
        return parents[3]
    if needed:
        raise JobError(f"{stage} lies in no store, so its inputs cannot be found; give --store")
    return stage.parent


if __name__ == "__main__":
    app()
