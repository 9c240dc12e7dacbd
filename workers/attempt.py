"""One try at a job, inside its own folder: what every backend calls. It never raises; it returns an outcome."""

from __future__ import annotations

import json
import logging
import os
import platform
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from workers.company import company
from workers.execute import run_probes, run_stage
from workers.execution import Control, Execution, Interrupted
from workers.gang import ALONE, Member
from workers.job import Job
from workers.memory import PeakMemory
from workers.stages import Probe

STOP_CHECK_INTERVAL_S = 0.2
log = logging.getLogger("winning_sign")


@dataclass(frozen=True)
class Attempt:
    """Where one try works.

    Attributes:
        root: the store's root, to which the job's inputs are relative.
        folder: this attempt's own folder: log.txt, progress.json, checkpoint/ and out/.
        stop_file: when it exists, the stage checkpoints and stops.
    """

    job: Job
    root: str
    folder: str
    stop_file: str
    execution: Execution


@dataclass(frozen=True)
class Outcome:
    """How a try ended."""

    status: Literal["done", "failed", "interrupted"]
    seconds: float
    results: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    error_type: str = ""
    message: str = ""


def run_attempts(attempts: Sequence[Attempt], member: Member = ALONE) -> list[Outcome]:
    """Run a job in its attempt's folder, or several probes that read the same data at once.

    A failure is an outcome, with its traceback in the log. When probes fail together, each is tried alone, so that only
    the guilty one fails.
    """
    began = time.monotonic()
    try:
        return _run_logged(attempts, began, member)
    except OSError as error:  # of the logs themselves, as on a full disk
        lost = Outcome("failed", time.monotonic() - began, error_type=type(error).__name__, message=str(error))
        return [lost] * len(attempts)


def _run_logged(attempts: Sequence[Attempt], began: float, member: Member) -> list[Outcome]:
    with ExitStack() as logs:
        for attempt in attempts:
            logs.enter_context(_logged(Path(attempt.folder)))
            name, key = attempt.job.name, attempt.job.key
            log.info("%s (%s) on %s, pid %d", name, key, socket.gethostname(), os.getpid())
        try:
            execution = attempts[0].execution
            with company() as beside:
                memory = PeakMemory(execution.torch_device) if beside.most == 0 else None
                results = _run(attempts, member)
                peak_bytes = memory.read() if memory and beside.most == 0 else None
            log.info("done: %s", results)
            found = machine(execution) | {"peak_memory_bytes": peak_bytes, "stages_beside": beside.most}
            seconds = (time.monotonic() - began) / len(attempts)
            return [Outcome("done", seconds, result, found) for result in results]
        except Interrupted:
            log.info("interrupted; it resumes from its checkpoint")
            return [Outcome("interrupted", time.monotonic() - began) for _ in attempts]
        except Exception as error:
            log.error("failed\n%s", traceback.format_exc())
            if len(attempts) == 1:
                message = str(error) or repr(error)
                return [Outcome("failed", time.monotonic() - began, error_type=type(error).__name__, message=message)]
    return [outcome for attempt in attempts for outcome in run_attempts([attempt])]


def machine(execution: Execution) -> dict[str, Any]:
    """The provenance that only the worker knows."""
    device = execution.torch_device
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else f"cpu ({platform.machine()})",
        "host": socket.gethostname(),
        "torch": torch.__version__,
        "deterministic": execution.deterministic or not cuda,
        "streamed_images_by": "gpu" if cuda and execution.loader_workers is None else "pil",
    }


def _run(attempts: Sequence[Attempt], member: Member) -> list[dict[str, Any]]:
    first = attempts[0]
    inputs = [{name: Path(attempt.root) / path for name, path in attempt.job.inputs.items()} for attempt in attempts]
    outs = [Path(attempt.folder) / "out" for attempt in attempts]
    control = _control(first, Path(first.folder))
    if isinstance(first.job.stage, Probe):
        return run_probes(first.job.stage, inputs, outs, first.execution, control)
    return [run_stage(first.job.stage, inputs[0], outs[0], first.execution, control, key=first.job.key, member=member)]


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """This thread's messages also go to the attempt's log; other threads' are of other attempts."""
    handler = logging.FileHandler(folder / "log.txt")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    thread = threading.get_ident()
    handler.addFilter(lambda record: record.thread == thread)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()


def _control(attempt: Attempt, folder: Path) -> Control:
    earlier = earlier_checkpoints(folder)
    progress_file = folder / "progress.json"

    def report(progress: dict[str, Any]) -> None:
        log.info("epoch %(epoch)d of %(epochs)d: %(accuracy_percent).2f %%", progress)
        temporary = progress_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(progress))
        temporary.replace(progress_file)

    return Control(
        checkpoints=folder / "checkpoint",
        earlier=earlier,
        should_stop=_stop_check(Path(attempt.stop_file)),
        report=report,
        checkpoint_interval_s=attempt.execution.checkpoint_interval_s,
    )


def earlier_checkpoints(folder: Path) -> tuple[Path, ...]:
    """Where the other attempts at the same stage left their checkpoints."""
    return tuple(path / "checkpoint" for path in folder.parent.iterdir() if path != folder)


def _stop_check(stop_file: Path) -> Callable[[], bool]:
    """Looks at the file system at most five times a second."""
    looked = -STOP_CHECK_INTERVAL_S

    def should_stop() -> bool:
        nonlocal looked
        now = time.monotonic()
        if now - looked < STOP_CHECK_INTERVAL_S:
            return False
        looked = now
        return stop_file.exists()

    return should_stop
