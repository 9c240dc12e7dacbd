"""One try at a job, inside its own folder: what every backend calls. It never raises; it returns an outcome."""

from __future__ import annotations

import json
import logging
import os
import platform
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from workers.execute import run_stage
from workers.execution import Control, Execution, Interrupted
from workers.job import Job

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


def run_attempt(attempt: Attempt) -> Outcome:
    """Run a job in its attempt's folder; a failure is an outcome, with its traceback in the log."""
    began = time.monotonic()
    folder = Path(attempt.folder)
    handler = logging.FileHandler(folder / "log.txt")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        log.info("%s (%s) on %s, pid %d", attempt.job.name, attempt.job.key, socket.gethostname(), os.getpid())
        results = run_stage(
            attempt.job.stage,
            {name: Path(attempt.root) / path for name, path in attempt.job.inputs.items()},
            folder / "out",
            attempt.execution,
            _control(attempt, folder),
            key=attempt.job.key,
        )
        log.info("done: %s", results)
        return Outcome("done", time.monotonic() - began, results, machine(attempt.execution.torch_device))
    except Interrupted:
        log.info("interrupted; it resumes from its checkpoint")
        return Outcome("interrupted", time.monotonic() - began)
    except Exception as error:
        log.error("failed\n%s", traceback.format_exc())
        message = str(error) or repr(error)
        return Outcome("failed", time.monotonic() - began, error_type=type(error).__name__, message=message)
    finally:
        log.removeHandler(handler)
        handler.close()


def machine(device: torch.device) -> dict[str, Any]:
    """The provenance that only the worker knows."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"
    return {"device": name, "host": socket.gethostname(), "torch": torch.__version__}


def _control(attempt: Attempt, folder: Path) -> Control:
    earlier = [path / "checkpoint" for path in folder.parent.iterdir() if path != folder]
    progress_file = folder / "progress.json"

    def report(progress: dict[str, Any]) -> None:
        log.info("epoch %(epoch)d of %(epochs)d: %(accuracy_percent).2f %%", progress)
        temporary = progress_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(progress))
        temporary.replace(progress_file)

    return Control(
        checkpoints=folder / "checkpoint",
        earlier=tuple(earlier),
        should_stop=_stop_check(Path(attempt.stop_file)),
        report=report,
        checkpoint_interval_s=attempt.execution.checkpoint_interval_s,
    )


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
