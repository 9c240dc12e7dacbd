"""``--fast``: what it would gain on this machine, in one line, and what it needs."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import replace

import torch

from orchestrator.backends.base import BackendError
from orchestrator.planning.algorithm import expand
from orchestrator.planning.plan import Plan
from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.layers import read_fast
from orchestrator.recipes.recipe import Recipe
from orchestrator.scheduling.estimate import Estimates
from orchestrator.store.record import Record
from workers.attempts.provenance import machine
from workers.devices.processor import native_bfloat16
from workers.stages import Pretrain, Round, Train
from workers.stages.execution import Execution
from workers.stages.kinds import width
from workers.training.compiled import NoCompilerError, check_compiler

BEGINNING = "This machine has native bfloat16."


def fast_line(
    experiments: Sequence[Experiment],
    plan: Plan,
    done: Collection[str],
    records: Mapping[str, Record],
    execution: Execution,
) -> str | None:
    """Say what ``--fast`` would gain on this machine; None if nothing.

    Nothing is gained where no stage is left, every recipe names a precision other than float32 already, or the device
    emulates bfloat16.

    Args:
        done: keys of the plan's finished stages.
        records: of the whole store, by key; those of this machine's kind of device give the durations.
    """
    device = execution.torch_device
    slow = any(each.recipe.precision == "float32" for each in experiments)
    if not slow or all(key in done for key in plan.nodes) or not native_bfloat16(device):
        return None
    estimates = Estimates(records.values(), machine(execution)["device"])
    before = _device_hours(plan, done, estimates)
    after = None
    if before is not None:  # planning again takes seconds for a large sweep
        faster = expand(replace(each, recipe=_faster(each.recipe)) for each in experiments)
        after = _device_hours(faster, records, estimates)
    if before is None or after is None:
        return (
            f"{BEGINNING} --fast trains in it, with other keys; its gain is not measured in this store yet "
            f"(docs/speed.md has measured gains and accuracies)."
        )
    unit = "GPU" if device.type == "cuda" else "core"
    return (
        f"{BEGINNING} With --fast {after:,.2f} {unit}-hours would be left instead of {before:,.2f}, by measured "
        f"durations; its keys are others, so stages in float32 do not count there."
    )


def _device_hours(plan: Plan, done: Container[str], estimates: Estimates) -> float | None:
    """Device-hours of the stages that are left; None if some have no estimate."""
    total_s = 0.0
    for node in plan:
        if node.key not in done:
            seconds = estimates.seconds(node)
            if seconds is None:
                return None
            total_s += seconds * width(node.stage)
    return total_s / 3600


def _faster(recipe: Recipe) -> Recipe:
    fields = dict(read_fast())
    if recipe.gpus_per_stage > 1:  # a gang is never compiled
        fields["compile_from_epochs"] = None
    return recipe.model_copy(update=fields)


def check_compiled(plan: Plan, cached: Collection[str], device: torch.device) -> None:
    """Raise BackendError if a stage that is left needs torch.compile, and this machine has no compiler for it."""
    for node in plan:
        stage = node.stage
        if isinstance(stage, Pretrain | Round | Train) and stage.training.compiled and node.key not in cached:
            try:
                check_compiler(device)
            except NoCompilerError as error:
                raise BackendError(str(error)) from error
            return
