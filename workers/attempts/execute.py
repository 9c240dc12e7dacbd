"""Compute one stage: a plain function of the stage, its input artifacts, an output folder and the execution."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from workers.attempts.chain import run_final_training, run_pretrain, run_round
from workers.attempts.context import StageContext
from workers.attempts.probes import run_landscape, run_pair_probe, run_path_probes
from workers.devices.determinism import choose_kernels
from workers.devices.memory import keeping_freed_memory
from workers.devices.streams import exclusive_stream
from workers.plugins import load_plugins
from workers.stages import Imported, Landscape, PairProbe, Pretrain, Probe, Round, Setting, Stage, Train
from workers.stages.execution import Control, Execution, StageError
from workers.training.gang.member import ALONE, Member


def run_stage(
    stage: Stage,
    inputs: Mapping[str, Path],
    out: Path,
    execution: Execution,
    control: Control | None = None,
    *,
    key: str = "",
    member: Member = ALONE,
) -> dict[str, Any]:
    """Compute a stage and write its artifacts.

    Args:
        inputs: ``out/`` folder of each upstream stage, by input name.
        out: an empty or missing folder.
        key: the stage's key, for the ticket's provenance.
        member: this process's place in the stage's gang. All ranks train, and rank 0 writes.

    Returns:
        The stage's results for its record, on rank 0.

    Raises:
        DataError, StageError, TicketError: the stage cannot be computed.
        RanksDisagreeError, RankLostError: the gang broke.
        Interrupted: the control asked to stop; a checkpoint was written.
    """
    if isinstance(stage, Probe):
        return run_probes(stage, [inputs], [out], execution, control)[0]
    if isinstance(stage, Imported):
        raise StageError(
            "this store has lost its copy of a ticket from elsewhere; repeat the sweep's command where the ticket's "
            "source is, and it is copied again"
        )
    out.mkdir(parents=True, exist_ok=True)
    with _open_context(stage.setting, execution, control, member) as context:
        match stage:
            case Pretrain():
                return run_pretrain(context, stage, out, key)
            case Round():
                return run_round(context, stage, inputs, out, key)
            case Train():
                return run_final_training(context, stage, inputs, out)
            case PairProbe():
                return run_pair_probe(context, stage, inputs)
            case Landscape():
                return run_landscape(context, stage, inputs, out)


def run_probes(
    stage: Probe,
    inputs: Sequence[Mapping[str, Path]],
    outs: Sequence[Path],
    execution: Execution,
    control: Control | None = None,
) -> list[dict[str, Any]]:
    """Compute the probes of several pairs together: each batch of data is loaded once and serves all pairs.

    Args:
        inputs: per pair, the ``out/`` folders of its two solutions, ``a`` and ``b``.
        outs: per pair, the folder for its artifacts.

    Returns:
        The results of each pair, for its record.

    Raises:
        Interrupted: the control asked to stop; probes start again from the beginning.
    """
    for out in outs:
        out.mkdir(parents=True, exist_ok=True)
    with _open_context(stage.setting, execution, control) as context:
        return run_path_probes(context, stage, inputs, outs)


@contextmanager
def _open_context(
    setting: Setting, execution: Execution, control: Control | None, member: Member = ALONE
) -> Iterator[StageContext]:
    """Load plugins, configure torch, and open the setting's data on a stream of the stage's own."""
    load_plugins(execution.plugins)
    control = control or Control(checkpoint_interval_s=execution.checkpoint_interval_s)
    device = execution.torch_device
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
        os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")  # of 8, more streams than 8 would share some
        choose_kernels(execution.deterministic)
    # fastest with a stage on every core, and the order of sums never depends on the host
    torch.set_num_threads(1)
    with exclusive_stream(device), keeping_freed_memory(device):
        yield StageContext(setting, execution, control, member)
