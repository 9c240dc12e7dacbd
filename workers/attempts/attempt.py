"""One attempt at a job, in its own folder: every backend calls it. It never raises; it returns an outcome."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tickets.errors import TicketError
from tickets.files.reading import UnreadableFileError
from tickets.files.writing import replacing
from workers.attempts.execute import run_probes, run_stage
from workers.attempts.provenance import machine
from workers.attempts.workspace import Artifact, DamagedInputError, Workspace, artifact, open_workspace
from workers.data import DataError
from workers.devices.determinism import collect_nondeterministic
from workers.devices.health import spoiled
from workers.devices.memory import PeakMemory, out_of_memory, shared_process
from workers.stages import Probe
from workers.stages.execution import Control, Execution, Interrupted, StageError
from workers.stages.job import Job
from workers.training.gang.member import ALONE, Member, RankLostError

STOP_CHECK_INTERVAL_S = 0.2
PROGRESS_INTERVAL_S = 2.0
log = logging.getLogger("winning_sign")
SENTENCES = (DataError, StageError, TicketError, UnreadableFileError)
"""Errors whose message says what is wrong with which file: a traceback adds nothing."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at a job.

    Attributes:
        root: the store's root, to which all paths of the attempt are relative.
        folder: the attempt's folder: log.txt, progress.json, checkpoint/ and out/.
        stop_files: if one of these files exists, the stage checkpoints and stops.
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
    """How an attempt ended.

    Attributes:
        results: of the stage, for its record.
        machine: provenance that only the worker knows.
        files: artifacts by name.
        damaged_input: name of the input whose files differ from its record; empty if all are intact.
        spoiled: the process must end once the stages end that run in it; see ``workers.devices.health``.
    """

    status: Literal["done", "failed", "interrupted"]
    seconds: float
    results: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Artifact] = field(default_factory=dict)
    error_type: str = ""
    message: str = ""
    damaged_input: str = ""
    spoiled: bool = False


def run_attempts(attempts: Sequence[Attempt], node: str = "", member: Member = ALONE) -> list[Outcome]:
    """Run one job, or several probes that read the same data, each in its attempt's folder.

    A failure becomes an outcome, with its traceback in the log. If probes fail together, each is run again alone, so
    that only the faulty one fails.

    Args:
        node: the backend's name of the machine.
        member: this process's place in the attempt's gang; it must be rank 0, which alone writes the folder.
    """
    began = time.monotonic()
    try:
        outcomes = _run_logged(attempts, began, node, member)
    except (Exception, SystemExit) as error:  # of the store or the log, such as a full disk
        outcomes = [_failed(error, began)] * len(attempts)
    if len(attempts) > 1 and any(outcome.status == "failed" for outcome in outcomes):
        return [outcome for attempt in attempts for outcome in run_attempts([attempt], node)]
    return [replace(outcome, spoiled=spoiled()) for outcome in outcomes]


def run_rank(attempt: Attempt, member: Member, node: str = "") -> Outcome:
    """Compute a stage as one rank of its gang; a failure becomes an outcome, on every rank.

    Rank 0's outcome is the attempt's. The other ranks' outcomes hold their failures, with tracebacks.

    Args:
        node: the backend's name of the gang's machines.
    """
    if member.is_leader:
        return run_attempts([attempt], node, member)[0]
    began = time.monotonic()
    try:
        with _workspace(attempt, writes=False) as space:
            run_stage(
                attempt.job.stage,
                space.inputs,
                space.folder / "out",
                attempt.execution,
                Control(earlier=space.earlier),  # rank 0 decides when to stop, and checkpoints
                key=attempt.job.key,
                member=member,
            )
    except Interrupted:
        return Outcome("interrupted", time.monotonic() - began)
    except (Exception, SystemExit) as error:
        where = f"rank {member.rank} on {socket.gethostname()}, pid {os.getpid()}"
        message = f"{error or repr(error)} ({where})"
        if not isinstance(error, RankLostError):
            message += f"\n{traceback.format_exc()}"
        return replace(_failed(error, began), message=message)
    return Outcome("done", time.monotonic() - began)


def _run_logged(attempts: Sequence[Attempt], began: float, node: str, member: Member) -> list[Outcome]:
    with ExitStack() as stack:
        spaces = []
        for attempt in attempts:
            spaces.append(stack.enter_context(_workspace(attempt)))
            stack.enter_context(_logged(spaces[-1].folder))
            name, key = attempt.job.name, attempt.job.key
            log.info("%s (%s) on %s, pid %d", name, key, socket.gethostname(), os.getpid())
        try:
            results, provenance = _run_measured(attempts, spaces, node, member)
            log.info("done: %s", results)
            files = [{path.name: artifact(path) for path in sorted((s.folder / "out").iterdir())} for s in spaces]
            for space in spaces:
                space.finish()
            seconds = (time.monotonic() - began) / len(attempts)
            return [
                Outcome("done", seconds, result, provenance, artifacts)
                for result, artifacts in zip(results, files, strict=True)
            ]
        except Interrupted:
            log.info("interrupted; it resumes from its checkpoint")
            return [Outcome("interrupted", time.monotonic() - began) for _ in attempts]
        except (Exception, SystemExit) as error:  # a plugin's function may raise anything
            log.error(
                "failed\n%s",
                f"{type(error).__name__}: {error}" if isinstance(error, SENTENCES) else traceback.format_exc(),
            )
            return [_failed(error, began)] * len(attempts)


def _run_measured(
    attempts: Sequence[Attempt], spaces: Sequence[Workspace], node: str, member: Member
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run the attempts; return their results, and the worker's provenance: machine, data and peak memory."""
    job, execution = attempts[0].job, attempts[0].execution
    held: dict[str, Any] = {}
    control = _control(execution, spaces, node, held.update)
    outs = [space.folder / "out" for space in spaces]
    device = execution.torch_device
    warned = collect_nondeterministic() if device.type == "cuda" else nullcontext(set[str]())
    with shared_process(device) as sharing, warned as operations:
        # beside another stage, nobody can tell whose memory it was
        memory = PeakMemory(device) if sharing.peak_stages_beside == 0 else None
        if isinstance(job.stage, Probe):
            results = run_probes(job.stage, [space.inputs for space in spaces], outs, execution, control)
        else:
            results = [run_stage(job.stage, spaces[0].inputs, outs[0], execution, control, key=job.key, member=member)]
        peak_bytes = memory.read() if memory and sharing.peak_stages_beside == 0 else None
    sharing_provenance = {"peak_memory_bytes": peak_bytes, "stages_beside": sharing.peak_stages_beside}
    return results, machine(execution, operations) | {"data": held} | sharing_provenance


def _workspace(attempt: Attempt, *, writes: bool = True) -> AbstractContextManager[Workspace]:
    """Open an attempt's workspace, for the process that writes it or for one that only reads."""
    inputs = {slot: (path, attempt.artifacts.get(slot, {})) for slot, path in attempt.job.inputs.items()}
    return open_workspace(attempt.root, attempt.folder, inputs, attempt.stop_files, writes=writes)


def _failed(error: BaseException, began: float) -> Outcome:
    """The outcome of an attempt that raised an error."""
    return Outcome(
        "failed",
        time.monotonic() - began,
        error_type="OutOfMemoryError" if out_of_memory(error) else type(error).__name__,
        message=str(error) or repr(error),
        damaged_input=error.slot if isinstance(error, DamagedInputError) else "",
    )


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Write this thread's messages to the attempt's log; other threads run other attempts."""
    handler = logging.FileHandler(folder / "log.txt", encoding="utf-8", errors="replace")
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


class _Heartbeat:
    """Writes ``progress.json``: how far the attempt is, how often it has beaten, and its longest step.

    Args:
        files: where to write it; several probes that run together each have one.
        node: the backend's name of the machine.
    """

    def __init__(self, files: Sequence[Path], node: str) -> None:
        self._files = files
        self._content: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid(), "node": node, "beats": 0}
        self._beats, self._longest_s, self._last, self._written = 0, 0.0, 0.0, 0.0
        self._write()

    def beat(self) -> None:
        """Count a step of the attempt."""
        now = time.monotonic()
        if self._beats:
            self._longest_s = max(self._longest_s, now - self._last)
        self._beats, self._last = self._beats + 1, now
        if self._beats == 2 or now - self._written > PROGRESS_INTERVAL_S:  # two beats are the first measure of pace
            self._write()

    def report(self, progress: Mapping[str, Any]) -> None:
        """Add how far the attempt is; epochs of small networks end many times a second, so not each is written."""
        self._content |= progress
        if progress["epoch"] == progress["epochs"] or time.monotonic() - self._written > PROGRESS_INTERVAL_S:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        self._content |= {"beats": self._beats, "longest_step_s": self._longest_s if self._beats > 1 else None}
        for file in self._files:
            with replacing(file) as partial:  # fails if the attempt's folder has been removed
                partial.write_text(json.dumps(self._content), encoding="utf-8")


def _control(
    execution: Execution, spaces: Sequence[Workspace], node: str, opened: Callable[[dict[str, Any]], None]
) -> Control:
    heartbeat = _Heartbeat([space.folder / "progress.json" for space in spaces], node)

    def report(progress: dict[str, Any]) -> None:
        log.info("epoch %(epoch)d of %(epochs)d: %(accuracy_percent).2f %%", progress)
        heartbeat.report(progress)

    return Control(
        checkpoints=spaces[0].folder / "checkpoint",
        earlier=spaces[0].earlier,
        opened=opened,
        should_stop=_at_intervals(lambda: any(space.stop_asked() for space in spaces)),
        report=report,
        beat=heartbeat.beat,
        checkpointed=spaces[0].keep_checkpoint,
        checkpoint_interval_s=execution.checkpoint_interval_s,
    )


def _at_intervals(check: Callable[[], bool]) -> Callable[[], bool]:
    """Make a check at most five times a second, because it reads a file system; once true, it stays true."""
    checked_at, stop = -STOP_CHECK_INTERVAL_S, False

    def should_stop() -> bool:
        nonlocal checked_at, stop
        now = time.monotonic()
        if not stop and now - checked_at >= STOP_CHECK_INTERVAL_S:
            checked_at, stop = now, check()
        return stop

    return should_stop
