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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from tickets.files.writing import write_atomically
from workers.attempts.execute import run_probes, run_stage
from workers.attempts.workspace import Artifact, DamagedInputError, Workspace, artifact, open_workspace
from workers.devices.memory import PeakMemory
from workers.devices.sharing import company
from workers.stages import Probe
from workers.stages.execution import Control, Execution, Interrupted
from workers.stages.job import Job
from workers.training.gang.member import ALONE, Member

STOP_CHECK_INTERVAL_S = 0.2
PROGRESS_INTERVAL_S = 2.0
log = logging.getLogger("winning_sign")


@dataclass(frozen=True)
class Attempt:
    """Where one try works.

    Attributes:
        root: the store's root, to which all paths here are relative.
        folder: this attempt's own folder: log.txt, progress.json, checkpoint/ and out/.
        stop_files: when one of them exists, the stage checkpoints and stops.
        artifacts: by input name, the files that the input's record lists.
    """

    job: Job
    root: str
    folder: str
    stop_files: tuple[str, ...]
    execution: Execution
    artifacts: Mapping[str, Mapping[str, Artifact]] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a try ended.

    Attributes:
        files: what it wrote, by name.
        damaged_input: which input was found not to be what its record says.
    """

    status: Literal["done", "failed", "interrupted"]
    seconds: float
    results: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Artifact] = field(default_factory=dict)
    error_type: str = ""
    message: str = ""
    damaged_input: str = ""


def run_attempts(attempts: Sequence[Attempt], node: str = "", member: Member = ALONE) -> list[Outcome]:
    """Run a job in its attempt's folder, or several probes that read the same data at once.

    A failure is an outcome, with its traceback in the log. When probes fail together, each is tried alone, so that only
    the guilty one fails.

    Args:
        node: a name of the machine, as the backend tells it.
        member: this process's place in the attempt's gang: rank 0, which alone writes the folder.
    """
    began = time.monotonic()
    try:
        outcomes = _run_logged(attempts, began, node, member)
    except Exception as error:  # of the store or the logs themselves, as on a full disk
        outcomes = [failed(error, began)] * len(attempts)
    if len(attempts) > 1 and any(outcome.status == "failed" for outcome in outcomes):
        return [outcome for attempt in attempts for outcome in run_attempts([attempt], node)]
    return outcomes


def _run_logged(attempts: Sequence[Attempt], began: float, node: str, member: Member) -> list[Outcome]:
    with ExitStack() as stack:
        spaces = []
        for attempt in attempts:
            spaces.append(stack.enter_context(workspace_of(attempt)))
            stack.enter_context(_logged(spaces[-1].folder))
            name, key = attempt.job.name, attempt.job.key
            log.info("%s (%s) on %s, pid %d", name, key, socket.gethostname(), os.getpid())
        try:
            execution = attempts[0].execution
            with company() as beside:
                memory = PeakMemory(execution.torch_device) if beside.most == 0 else None
                results = _run(attempts, spaces, node, member)
                peak_bytes = memory.read() if memory and beside.most == 0 else None
            log.info("done: %s", results)
            found = machine(execution) | {"peak_memory_bytes": peak_bytes, "stages_beside": beside.most}
            files = [{path.name: artifact(path) for path in sorted((s.folder / "out").iterdir())} for s in spaces]
            for space in spaces:
                space.finish()
            seconds = (time.monotonic() - began) / len(attempts)
            return [Outcome("done", seconds, result, found, made) for result, made in zip(results, files, strict=True)]
        except Interrupted:
            log.info("interrupted; it resumes from its checkpoint")
            return [Outcome("interrupted", time.monotonic() - began) for _ in attempts]
        except Exception as error:
            log.error("failed\n%s", traceback.format_exc())
            return [failed(error, began)] * len(attempts)


def workspace_of(attempt: Attempt, *, writes: bool = True) -> AbstractContextManager[Workspace]:
    """An attempt's workspace, for the process that writes it or for one that only reads."""
    inputs = {slot: (path, attempt.artifacts.get(slot, {})) for slot, path in attempt.job.inputs.items()}
    return open_workspace(attempt.root, attempt.folder, inputs, attempt.stop_files, writes=writes)


def failed(error: Exception, began: float) -> Outcome:
    """The outcome of an attempt that raised this."""
    return Outcome(
        "failed",
        time.monotonic() - began,
        error_type=type(error).__name__,
        message=str(error) or repr(error),
        damaged_input=error.slot if isinstance(error, DamagedInputError) else "",
    )


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


def _run(attempts: Sequence[Attempt], spaces: Sequence[Workspace], node: str, member: Member) -> list[dict[str, Any]]:
    first, space = attempts[0], spaces[0]
    control = _control(first.execution, spaces, node)
    if isinstance(first.job.stage, Probe):
        inputs = [each.inputs for each in spaces]
        return run_probes(first.job.stage, inputs, [each.folder / "out" for each in spaces], first.execution, control)
    out, key = space.folder / "out", first.job.key
    return [run_stage(first.job.stage, space.inputs, out, first.execution, control, key=key, member=member)]


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


def _control(execution: Execution, spaces: Sequence[Workspace], node: str) -> Control:
    heart = _Heart([space.folder / "progress.json" for space in spaces], node)

    def report(progress: dict[str, Any]) -> None:
        log.info("epoch %(epoch)d of %(epochs)d: %(accuracy_percent).2f %%", progress)
        heart.tell(progress)

    return Control(
        checkpoints=spaces[0].folder / "checkpoint",
        earlier=spaces[0].earlier,
        should_stop=_seldom(lambda: any(space.stop_asked() for space in spaces)),
        report=report,
        beat=heart.beat,
        checkpointed=spaces[0].keep_checkpoint,
        checkpoint_interval_s=execution.checkpoint_interval_s,
    )


class _Heart:
    """Keeps ``progress.json``: how far the attempt is, and that it moves."""

    def __init__(self, files: Sequence[Path], node: str) -> None:
        self._files = files
        self._content: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid(), "node": node, "beats": 0}
        self._beats, self._longest_s, self._last, self._written = 0, 0.0, 0.0, 0.0
        self._write()

    def beat(self) -> None:
        """The attempt has moved."""
        now = time.monotonic()
        if self._beats:
            self._longest_s = max(self._longest_s, now - self._last)
        self._beats, self._last = self._beats + 1, now
        if self._beats == 2 or now - self._written > PROGRESS_INTERVAL_S:  # from two on there is a pace to judge by
            self._write()

    def tell(self, progress: Mapping[str, Any]) -> None:
        """How far it is."""
        self._content |= progress
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        self._content |= {"beats": self._beats, "longest_step_s": self._longest_s if self._beats > 1 else None}
        for file in self._files:
            write_atomically(file, json.dumps(self._content).encode(), durable=False)


def _seldom(check: Callable[[], bool]) -> Callable[[], bool]:
    """The check, made at most five times a second: it looks at a file system."""
    looked, found = -STOP_CHECK_INTERVAL_S, False

    def should_stop() -> bool:
        nonlocal looked, found
        now = time.monotonic()
        if not found and now - looked >= STOP_CHECK_INTERVAL_S:
            looked, found = now, check()
        return found

    return should_stop
