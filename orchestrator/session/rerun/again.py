"""Runs one finished stage again, by the same function as a sweep, and compares its output with the store's."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from orchestrator.session.rerun.differences import Difference, differences
from orchestrator.store import Store, StoreError
from orchestrator.store.record import Record
from workers.attempts.execute import run_stage
from workers.attempts.provenance import machine
from workers.attempts.workspace import is_intact
from workers.devices.determinism import collect_nondeterministic
from workers.stages import Stage
from workers.stages.execution import Control, Execution

KIND_OF_MACHINE = ("device", "processor", "torch", "deterministic", "streamed_images_by")
"""The fields of a record's provenance that decide the last digits: the same values are the same kind of machine."""


class StageAgain(BaseModel):
    """A stage that was run again.

    Attributes:
        seconds, recorded_seconds: how long the stage took now, and when it was recorded.
        recorded_commit: the commit of this software that computed the stage; None if unknown.
        machine, recorded_machine: the kinds of machine.
        differences: what differs; empty if all bits are the same.
        error: why the stage could not be run again; empty if it could.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    key: str
    kind: str
    seconds: float
    recorded_seconds: float
    recorded_commit: str | None
    machine: dict[str, Any]
    recorded_machine: dict[str, Any]
    differences: list[Difference] = []
    error: str = ""

    @property
    def same(self) -> bool:
        """Whether all bits are the same."""
        return not self.differences and not self.error

    @property
    def failed(self) -> bool:
        """Whether it breaks the promise: it could not be run again, or differs on the same kind of machine."""
        return bool(self.error) or (bool(self.differences) and self.machine == self.recorded_machine)


def device_of(record: Record, asked: str) -> str:
    """The device to run a stage on: the kind that its record names if this machine has it, unless asked for another."""
    if asked != "auto":
        return asked
    on_gpu = not str(record.provenance.get("device", "")).startswith("cpu") and torch.cuda.is_available()
    return "cuda" if on_gpu else "cpu"


def run_again(
    store: Store,
    record: Record,
    stage: Stage,
    execution: Execution,
    scratch: Path,
    report: Callable[[dict[str, Any]], None] = lambda progress: None,
) -> StageAgain:
    """Run a stage again and compare its output with the store's; the store is only read.

    Args:
        scratch: an empty folder, for the output in ``out/`` and downloaded files.
        report: receives how far a training is.

    Raises:
        StoreError: a file of the store is missing, or differs from its record.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    execution = replace(execution, device=device_of(record, execution.device))
    inputs = {slot: _input(store, store.committed(key), scratch) for slot, key in record.inputs.items()}
    began = time.monotonic()
    operations: set[str] = set()
    differing: list[Difference] = []
    error = ""
    try:
        on_gpu = execution.torch_device.type == "cuda"
        with collect_nondeterministic() if on_gpu else nullcontext(set[str]()) as operations:
            results = run_stage(stage, inputs, scratch / "out", execution, Control(report=report), key=record.key)
        differing = differences(record, results, lambda name: _stored(store, record, name, scratch), scratch / "out")
    except StoreError:
        raise
    except (Exception, SystemExit) as raised:  # a plugin's function may raise anything
        error = " ".join(f"{type(raised).__name__}: {raised}".split())
    here = machine(execution, operations)
    return StageAgain(
        name=record.name,
        key=record.key,
        kind=record.kind,
        seconds=time.monotonic() - began,
        recorded_seconds=record.seconds,
        recorded_commit=record.provenance.get("git_commit"),
        machine={field: here[field] for field in KIND_OF_MACHINE},
        recorded_machine={field: record.provenance.get(field) for field in KIND_OF_MACHINE},
        differences=differing,
        error=error,
    )


def _input(store: Store, record: Record, scratch: Path) -> Path:
    """Return the folder on this machine of an input's files, after a check of each."""
    paths = store.local([(record.key, name) for name in record.files], scratch / "store")
    for (_, name), path in paths.items():
        if not is_intact(path, record.files[name]):
            raise StoreError(f"{path} differs from its record; run winning-sign verify {store.root}")
    return next(iter(paths.values())).parent


def _stored(store: Store, record: Record, name: str, scratch: Path) -> Path | None:
    """Return one of a stage's files on this machine; None if gc removed it."""
    files = store.stage(record.key)
    assert files is not None
    if f"{record.out}/{name}" not in files.files:
        return None
    return store.local([(record.key, name)], scratch / "store")[record.key, name]
