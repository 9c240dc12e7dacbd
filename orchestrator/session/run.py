"""Runs the stages of a plan that the store lacks: starts the backend and the driver, handles signals, and reports."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from orchestrator.backends.base import Backend, BackendError
from orchestrator.backends.inline import InlineBackend
from orchestrator.driver.budget import Budget, spent_before
from orchestrator.driver.driver import Driver, Policies, Summary, Work
from orchestrator.driver.supervision import LEAST_LIMIT_S
from orchestrator.operating.garbage import to_recompute
from orchestrator.planning.plan import Plan, describe
from orchestrator.recipes.layers import RecipeError
from orchestrator.scheduling.estimate import Estimates
from orchestrator.scheduling.packing import Packing
from orchestrator.scheduling.queue import FINISHED, ReadyQueue, State
from orchestrator.scheduling.rank import upward_rank
from orchestrator.session.live_export import LiveExport
from orchestrator.session.live_report import LiveReport
from orchestrator.session.resuming import resumes_from
from orchestrator.store import Store, StoreError
from orchestrator.store.events import read_events
from orchestrator.store.leases import HeldLease
from orchestrator.store.record import Record
from orchestrator.terminal.progress import ProgressPanel
from workers.data import DataError
from workers.stages.execution import Execution
from workers.stages.kinds import width
from workers.terminal.command import print_error
from workers.terminal.console import Console
from workers.terminal.numbers import duration

LOG_LINES = 12
FIRST_REPORT_S = 10.0  # a sweep of seconds has one report, at its end


@dataclass(frozen=True)
class Placement:
    """Where and how densely stages run.

    Attributes:
        backend: "ray" or "inline".
        address: a Ray cluster to join; None for a private Ray on this machine.
        scale_to: devices that the cluster's autoscaler may bring; None to use those present.
        max_concurrent: most stages at a time.
        pack: stages that share a GPU; None to find the number by measuring.
        hang_limit_s: shortest silence after which a stage counts as hung.
        ranks: of the largest gang.
        budget_device_s: device-seconds that may be spent, those of earlier runs included; None for any.
        budgeted: the plan whose stages count, if it is more than the one that runs, as it is look by look.
    """

    execution: Execution
    backend: str = "inline"
    address: str | None = None
    scale_to: int | None = None
    max_concurrent: int | None = None
    pack: int | None = None
    hang_limit_s: float = LEAST_LIMIT_S
    ranks: int = 1
    budget_device_s: float | None = None
    budgeted: Plan | None = None


@dataclass(frozen=True)
class CachedStages:
    """Which of a plan's stages are done, and which of them must be computed again.

    Attributes:
        keys: stages that are done and stay so.
        records: all of the store's, by key.
        damaged: a sentence for each done stage that is damaged, by its key or the key's first digits.
        collected: done stages that lack files which this plan needs: ``orchestrator.gc`` removed them.
    """

    keys: list[str]
    records: dict[str, Record]
    damaged: dict[str, str]
    collected: set[str]


@contextmanager
def holding_lease(store: Store) -> Iterator[HeldLease]:
    """Hold a lease in a store, or raise StoreError if it cannot be written; a refusal removes a store left empty."""
    store.open_for_writing()
    try:
        try:
            lease = HeldLease(store.storage, sys.argv)
        except OSError as error:
            raise StoreError(f"{store.root}: the store cannot be written ({error})") from error
        try:
            yield lease
        finally:
            lease.release()
    except (DataError, RecipeError, BackendError):
        store.discard_if_unused()
        raise


def find_cached(plan: Plan, store: Store) -> CachedStages:
    """List the store once, and find the plan's stages in it."""
    damaged: dict[str, str] = {}
    records = store.records(damaged)
    damaged |= {key: sentence for key in records if key in plan.nodes and (sentence := store.damage(key))}
    lacking = [node.key for node in plan if node.key not in records or node.key in damaged]
    collected = to_recompute({node.key: node.inputs.values() for node in plan}, lacking, store.collected())
    keys = [key for key in plan.nodes if key in records and key not in damaged and key not in collected]
    return CachedStages(keys, records, damaged, collected)


def _quarantine(store: Store, cached: CachedStages, console: Console) -> None:
    """Quarantine the records of stages that are damaged or lack needed files, and say so."""
    for key, sentence in cached.damaged.items():
        store.quarantine(key, "damaged")
        console.print(f"{sentence}: quarantined, and computed again if this sweep needs it")
    for key in cached.collected:
        store.quarantine(key, "collected")
    if cached.collected:
        console.print(
            f"{len(cached.collected)} stages are computed again: orchestrator.gc removed files that this sweep needs"
        )


def run_plan(
    plan: Plan,
    cached: CachedStages,
    store: Store,
    lease: HeldLease,
    placement: Placement,
    console: Console,
    log_to: Sequence[str] = (),
) -> int:
    """Run the stages that are not cached; return the exit code: 0, 1 if something failed, 130 after an interruption.

    Args:
        log_to: destinations of ``winning-sign export``, to which finished stages are written.

    Raises:
        BackendError: the backend cannot be used as asked.
        StoreError: the store could not be written for minutes, and no stage has begun.
    """
    store.retry_failures(console.print)
    stored_plan, report, export = plan.stored(sys.argv, time.time()), LiveReport(store), LiveExport(store, log_to)
    if len(cached.keys) == len(plan):
        _quarantine(store, cached, console)
        store.write_plan(stored_plan)
        store.write_index()
        console.print(
            f"Nothing to compute: {len(plan)} of {len(plan)} stages in {store.root} are done.", soft_wrap=True
        )
        export.write(console)
        return 0 if report.write(console) else 1
    console.print(resumes_from(plan, set(cached.keys), store), soft_wrap=True)
    console.print(f"The report, while the sweep runs: {report.path}", soft_wrap=True)
    if placement.scale_to:
        console.print(f"Waiting for the first of up to {placement.scale_to} devices.")
    backend = _start_backend(placement)
    try:
        _quarantine(store, cached, console)  # nothing was refused, so what is set aside is computed again
    except BaseException:
        backend.close()
        raise
    packing = Packing(backend.device_bytes, placement.pack)
    for record in cached.records.values():
        packing.observe(record)
    store.write_plan(stored_plan)
    estimates = Estimates(cached.records.values())
    work = Work(plan, ReadyQueue(plan, estimates.rank(plan), cached.keys), estimates.seconds)
    budget = None
    if placement.budget_device_s is not None:
        devices = {node.key: width(node.stage) for node in placement.budgeted or plan}
        spent_s = spent_before(devices, cached.records, read_events(store.storage))
        budget = Budget(placement.budget_device_s, spent_s)
    policies = Policies(placement.execution, packing, placement.max_concurrent, placement.hang_limit_s, budget)

    def capacity() -> int:
        return max(1, backend.devices // placement.ranks) * packing.level

    panel = ProgressPanel(console, plan, work.queue, upward_rank(plan), capacity)
    for key in cached.keys:
        if cached.records[key].attempt == 1:  # a resumed attempt did a part of the work
            panel.measured(plan.nodes[key], cached.records[key].seconds)

    def refresh() -> None:
        report.refresh()
        export.refresh(panel.notice)

    with _stop_on_signals(lease, panel, console):
        try:
            with panel:
                driver = Driver(work, store, lease, backend, policies, panel)
                summary = driver.run(refresh, FIRST_REPORT_S)
        except StoreError as error:
            interrupted = lease.stopping
            lease.ask_stop()
            print_error(str(error))
            return 130 if interrupted else 1
        except BaseException:
            lease.ask_stop()  # stages that run in this process checkpoint, instead of being waited for
            raise
        finally:
            backend.close()
    try:
        store.records({})
        store.write_index()
    except StoreError as error:
        print_error(str(error))
        return summary.exit_code or 1
    print_summary(console, store, summary)
    export.write(console)
    reported = report.write(console)
    if lease.lost:
        console.print("Another sweep has taken over the stages of this one, which had been silent for too long.")
    elif summary.out_of_budget and placement.budget_device_s:
        left = Counter(describe(node) for node in plan if work.queue.state[node.key] not in FINISHED)
        parts = ", ".join(f"{count} {what}" for what, count in left.items())
        console.print(
            f"The budget of {placement.budget_device_s / 3600:.4g} device-hours is spent; {left.total()} stages are "
            f"left: {parts}. The same command with a larger budget goes on from here."
        )
    elif summary.exit_code == 130:
        console.print("Interrupted; the same command goes on from here.")
    return summary.exit_code if reported else summary.exit_code or 1


def print_summary(console: Console, store: Store, summary: Summary) -> None:
    """Print the number of stages by state, and the failures in their order, with the end of the first one's log."""
    states = summary.states
    parts = [f"{states[state]} {state.value}" for state in State if states[state]]
    console.print(
        f"{summary.finished} of {states.total()} stages finished in {duration(summary.seconds)} ({', '.join(parts)})."
    )
    if summary.failures:
        console.print("First failure first:")
        for failure in summary.failures:
            text = f"{failure.name}  {failure.error_type}: {failure.message}\n  {store.root}/{failure.log}"
            console.print(text, soft_wrap=True)
        first = summary.failures[0].log
        with suppress(OSError):  # the attempt may have died before its first line
            lines = store.storage.read(first).decode(errors="replace").splitlines()[-LOG_LINES:]
            console.print(f"Last lines of {store.root}/{first}:", soft_wrap=True)
            console.print("\n".join(lines))


def _start_backend(placement: Placement) -> Backend:
    inline = placement.backend == "inline"
    backend: Backend = InlineBackend(placement.execution.torch_device) if inline else _start_ray(placement)
    if placement.pack and backend.device_bytes is None:
        backend.close()
        raise BackendError(f"--pack {placement.pack}: only GPUs are shared, and stages run on CPUs here; leave it out")
    return backend


def _start_ray(placement: Placement) -> Backend:
    if placement.address is None:
        os.environ["RAY_AUTH_MODE"] = "token"  # Ray reads it when it is imported
    try:
        from orchestrator.backends.ray.backend import RayBackend  # here: the inline backend must do without Ray
    except ImportError as error:
        raise BackendError(f"--backend ray: {error}; install ray[tune,train], or give --backend inline") from error
    device, most = placement.execution.device, placement.max_concurrent
    return RayBackend(placement.address, most, device, placement.scale_to, placement.ranks)


@contextmanager
def _stop_on_signals(lease: HeldLease, panel: ProgressPanel, console: Console) -> Iterator[None]:
    """On the first SIGINT or SIGTERM stop cleanly; on the second exit now, and the next sweep resumes checkpoints."""

    def handle(number: int, frame: FrameType | None) -> None:
        if lease.stopping:
            panel.__exit__(None, None, None)
            console.show_cursor()
            os._exit(128 + number)
        lease.ask_stop()
        panel.notice("Stopping: running stages checkpoint, nothing new starts. Once more to exit at once.")

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
