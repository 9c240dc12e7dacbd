"""Runs what of a plan is not in the store yet: starts the backend and the driver, minds signals, and reports."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from orchestrator.backends.base import Backend, BackendError
from orchestrator.backends.inline import InlineBackend
from orchestrator.driver.driver import Driver
from orchestrator.driver.stop import StopRequest
from orchestrator.driver.summary import print_summary
from orchestrator.planning.plan import Plan
from orchestrator.recipes import RecipeError
from orchestrator.scheduling.estimate import Estimates
from orchestrator.scheduling.packing import Packing
from orchestrator.scheduling.queue import ReadyQueue
from orchestrator.scheduling.rank import upward_rank
from orchestrator.session.cache import Standing
from orchestrator.session.live_report import LiveReport
from orchestrator.store import Store
from orchestrator.store.leases import HeldLease
from orchestrator.terminal.progress import Progress
from workers.data import DataError
from workers.stages.execution import Execution
from workers.terminal.console import Console

FIRST_REPORT_S = 10.0  # a sweep of seconds has one report, at its end


@dataclass(frozen=True)
class Placement:
    """Where and how densely stages run, and how long one may be silent.

    Attributes:
        ranks: of the largest gang.
    """

    backend: str
    address: str | None
    scale_to: int | None
    max_concurrent: int | None
    pack: int | None
    hang_limit_s: float
    ranks: int


@contextmanager
def at_work(store: Store) -> Iterator[HeldLease]:
    """Hold a lease in a store that can be written; a folder that stays empty, because of a refusal, is removed again.

    Raises:
        StoreError: the store cannot be written.
    """
    store.open_for_writing()
    try:
        lease = HeldLease(store.storage, sys.argv)
        try:
            yield lease
        finally:
            lease.release()
    except (DataError, RecipeError, BackendError):
        store.discard_if_unused()
        raise


def set_aside(store: Store, found: Standing, console: Console) -> None:
    """Let what is damaged, or lacks files that are needed, be made anew, and say so."""
    for key, what in found.damaged.items():
        store.set_aside(key, "damaged")
        console.print(f"{what}: set aside, and made anew if this sweep needs it", highlight=False, markup=False)
    for key in found.collected:
        store.set_aside(key, "collected")
    if found.collected:
        console.print(
            f"{len(found.collected)} stages are made anew: orchestrator.gc took files that this sweep needs",
            highlight=False,
        )


def run_plan(
    plan: Plan,
    found: Standing,
    store: Store,
    lease: HeldLease,
    execution: Execution,
    placement: Placement,
    report: LiveReport,
    console: Console,
) -> int:
    """Run what is not cached; the exit code."""
    planned, cached = plan.stored(sys.argv, time.time()), found.cached
    store.retry_failures(lambda text: console.print(text, highlight=False, markup=False))
    if len(cached) == len(plan):
        store.write_plan(planned)
        store.write_index()
        console.print(f"Nothing to compute: all {len(plan)} stages are in {store.root}.", highlight=False)
        report.write()
        console.print(f"Report: {report.path}", highlight=False, soft_wrap=True)
        return 0
    rank = upward_rank(plan)
    estimates = Estimates(found.records.values())
    queue = ReadyQueue(plan, estimates.rank(plan), cached)
    console.print(
        f"{len(plan)} stages, {len(cached)} of them in {store.root} already; report: {report.path}",
        highlight=False,
        soft_wrap=True,
    )
    if placement.scale_to:
        console.print(f"Waiting for the first of up to {placement.scale_to} devices.", highlight=False)
    workers = _start_backend(placement, execution)
    if placement.pack and workers.device_bytes is None:
        workers.close()
        raise BackendError(f"--pack {placement.pack}: stages share GPUs, and they would run on CPUs here; leave it out")
    packing = Packing(workers.device_bytes, placement.pack)
    for record in found.records.values():
        packing.observe(record)
    store.write_plan(planned)
    progress = Progress(console, plan, queue, rank, lambda: max(1, workers.devices // placement.ranks) * packing.level)
    stop = StopRequest(store, lease)
    previous = _on_signals(stop, progress, console)
    try:
        with progress:
            driver = Driver(
                plan,
                queue,
                store,
                workers,
                execution,
                progress,
                stop,
                packing,
                lease,
                placement.max_concurrent,
                placement.hang_limit_s,
                estimates.seconds,
            )
            summary = driver.run(report.refresh, FIRST_REPORT_S)
    except BaseException:
        stop.ask()  # what still runs in this process checkpoints, instead of being waited for
        raise
    finally:
        workers.close()
        for number, handler in previous.items():
            signal.signal(number, handler)
    store.records({})
    store.write_index()
    report.write()
    print_summary(console, store, summary)
    console.print(f"Report: {report.path}", highlight=False, soft_wrap=True)
    if lease.lost:
        console.print("Another sweep took this one's work over, because it had been silent for long; it goes on there.")
    elif summary.exit_code == 130:
        console.print("Interrupted; the same command goes on from here.")
    return summary.exit_code


def _start_backend(placement: Placement, execution: Execution) -> Backend:
    if placement.backend == "inline":
        return InlineBackend(execution.torch_device)
    if placement.address is None:
        os.environ["RAY_AUTH_MODE"] = "token"  # Ray reads it when it is imported
    try:
        from orchestrator.backends.ray.backend import RayBackend  # here: the inline backend must do without Ray
    except ImportError as error:
        raise BackendError(f"--backend ray: {error}; install ray[tune,train], or give --backend inline") from error
    return RayBackend(
        placement.address, placement.max_concurrent, execution.device, placement.scale_to, placement.ranks
    )


def _on_signals(stop: StopRequest, progress: Progress, console: Console) -> Mapping[int, Any]:
    """Once: stop cleanly. Twice: exit now; what was running resumes from its last checkpoint."""

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            progress.__exit__(None, None, None)
            console.show_cursor()
            os._exit(128 + number)
        stop.ask()
        progress.notice("Stopping: running stages checkpoint, nothing new starts. Once more to exit at once.")

    return {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
