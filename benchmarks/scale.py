"""How far one driver goes: planning, overhead of a stage, repeating a finished sweep, and the order of stages.

    python -m benchmarks.scale [--stages 10000] [--no-op-stages 2000] [--only simulation,barriers]
    python -m benchmarks.scale --only finished --s3 loopback         # in a bucket of a server that it starts
    python -m benchmarks.scale --only finished --s3 s3://BUCKET/NEW  # in a bucket of yours
    python -m benchmarks.scale --only simulation --recorded STORE  # durations from a real sweep's records as well

- planning: the plan, its ranks and the ready queue, in a fresh process, and its peak memory. Goals for 10,000
  stages: 5 s, 1 GB.
- no_op: empty stages through the real driver, store and Ray (whose start is not counted), and the driver's peak memory.
  Goals, up to 100,000 stages: 4 ms a stage, 1.5 GB.
- finished: the whole command on a finished store, with the report, and ``status`` and ``why`` of the store. Goals: 6 s
  for 10,000 stages, 60 s on S3; 45 s for 100,000, 3 min on S3, and 15 s for ``status`` and for ``why``.
- simulation: the driver's scheduler on 64 and 1,024 devices that are preempted at random. Goal: within 10 % of the
  lower bound, which is the larger of the critical path and the work divided by the devices.
- barriers: when the first and half of the probes end, and the makespan, beside an order by urgency alone. Goal: within
  1 % of that order's makespan.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.faults.bucket import SETTINGS, fill, s3_server
from benchmarks.finished_store import write_finished
from benchmarks.launched import launch
from benchmarks.machine import describe_machine
from benchmarks.simulated import (
    changes_for,
    cifar,
    made_up_sweeps,
    measure_barriers,
    measure_simulation,
    recorded_sweep,
)
from benchmarks.table import print_table
from orchestrator.planning.algorithm import expand
from orchestrator.planning.plan import Plan
from orchestrator.recipes.experiment_file import ExperimentRequest
from orchestrator.recipes.experiments import find_experiments
from orchestrator.scheduling.queue import ReadyQueue
from orchestrator.scheduling.rank import upward_rank
from orchestrator.session.live_report import STAMP, LiveReport
from orchestrator.store import KEY_DIGITS, Store
from orchestrator.store.index import write_index
from workers.stages.execution import Execution

Measured = TypeVar("Measured")
PARTS = ("planning", "no_op", "finished", "simulation", "barriers")
WARM_UP_STAGES = 12
LARGE = 90_000
"""Stages from which the goals of a large sweep hold."""
LOOPBACK, OF_LOOPBACK, COPIES_AT_ONCE = "loopback", "s3://bucket/finished", 16


def _plan_once(changes: dict[str, Any]) -> tuple[int, float, int]:
    """Plan once; stages, seconds, and the process's peak memory in bytes."""
    began = time.perf_counter()
    plan = cifar([("cifar100", "resnet20")], changes)
    ReadyQueue(plan, upward_rank(plan), [])
    return len(plan), time.perf_counter() - began, _peak_bytes()


def _peak_bytes() -> int:
    """Peak memory of this process."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def in_a_fresh_process(function: Callable[..., Measured], *arguments: object) -> Measured:
    """Call a function of a module in a process of its own, and return what it returns."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def measure_planning(stages: int) -> list[list[str]]:
    """Rows of the table."""
    planned, took, peak_bytes = in_a_fresh_process(_plan_once, changes_for(stages))
    goals = ("", "") if stages >= LARGE else ("5 s", "1,000 MB")
    return [[f"planning {planned:,} stages", f"{took:.2f} s", goals[0], _megabytes(peak_bytes), goals[1]]]


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"


def _no_op_once(stages: int) -> tuple[float, int]:
    """Run empty stages; seconds, and the driver's peak memory in bytes."""
    from benchmarks.no_op import NoOpBackend, run_no_op  # imported here, since the other parts need no Ray

    whole = cifar([("cifar100", "resnet20")], changes_for(stages))
    plan, warm_up = (Plan(dict(list(whole.nodes.items())[:count])) for count in (stages, WARM_UP_STAGES))
    backend = NoOpBackend(None, None, "cpu")
    try:
        with tempfile.TemporaryDirectory() as folder:
            run_no_op(warm_up, Path(folder) / "warm-up", backend)
            return run_no_op(plan, Path(folder) / "store", backend), _peak_bytes()
    finally:
        backend.close()


def measure_no_op(stages: int) -> list[list[str]]:
    """Rows of the table."""
    took, peak_bytes = in_a_fresh_process(_no_op_once, stages)
    what = f"one of {stages:,} empty stages, through Ray"
    return [[what, f"{1e3 * took / stages:.1f} ms", "4 ms", _megabytes(peak_bytes), "1,500 MB"]]


def finished_plan(stages: int, cache: Path) -> Plan:
    """The plan of the sweep that ``measure_finished`` repeats."""
    return expand(
        find_experiments(
            ExperimentRequest(("mnist1d",), layers=(changes_for(stages),)), Execution("cpu", None, str(cache))
        )
    )


def measure_finished(stages: int, s3: str | None) -> list[list[str]]:
    """Rows of the table.

    Args:
        s3: URL of an empty prefix, which receives the store; None leaves the store in a local folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        local, cache = Path(folder) / "store", Path(folder) / "cache"
        plan = finished_plan(stages, cache)
        write_finished(local, plan)
        settings = [part for name, value in changes_for(stages).items() for part in ("--set", f"{name}={value}")]
        command = ["orchestrator.sweep", "--datasets", "mnist1d", *settings]
        command += ["--backend", "inline", "--device", "cpu", "--data-cache", str(cache), "--store"]
        launch([*command, str(local)])  # prepares the data, and writes the index of records and the report
        store = s3 or str(local)
        if s3:
            move(local, s3)
        large = stages >= LARGE
        sweep_s = {(False, False): 6, (False, True): 60, (True, False): 45, (True, True): 180}[large, bool(s3)]
        name = f"a finished sweep of {len(plan):,} stages again" + (", on S3" if s3 else "")
        commands = {
            name: ([*command, store], f"{sweep_s} s"),
            "its report, rendered again": (["analysis.report", store], "60 s" if large else ""),
            "`status` of it": (["orchestrator.status", store], "15 s"),
            "`why` of one of its stages": (["orchestrator.why", store, next(reversed(plan.nodes))], "15 s"),
        }
        if s3:  # the moved store lacks copies of tables: its report takes a request for each of them
            del commands["its report, rendered again"]
        measured = [(what, launch(words), goal) for what, (words, goal) in commands.items()]
    return [
        [what, f"{used.wall_s:.1f} s", goal, _megabytes(used.peak_bytes), "1,500 MB" if large else ""]
        for what, used, goal in measured
    ]


def move(local: Path, url: str) -> None:
    """Copy a store into a bucket; its index and its report's stamp name the versions of the files there.

    The copies of tables (``analysis.frames.results``) still name the local versions, so that none is used.

    Raises:
        orchestrator.store.StoreError: the bucket cannot be written.
    """
    store = Store(url)
    if url == OF_LOOPBACK:
        fill(local, url.removeprefix("s3://bucket/"))
    else:
        paths = [path for path in local.rglob("*") if path.is_file()]
        with ThreadPoolExecutor(COPIES_AT_ONCE) as threads:
            list(threads.map(lambda path: store.storage.write(str(path.relative_to(local)), path.read_bytes()), paths))
    records = {key[:KEY_DIGITS]: record for key, record in Store(local).records().items()}
    write_index(store.storage, store.stages(), records)
    store.storage.write(STAMP, LiveReport(store).stamp())


@contextmanager
def bucket(asked: str | None) -> Iterator[str | None]:
    """Yield the URL of the store to make in a bucket, on a server of this process if "loopback" is asked; else None."""
    if asked != LOOPBACK:
        yield asked
        return
    with s3_server() as address:
        os.environ |= {**SETTINGS, "AWS_ENDPOINT_URL": address}
        yield OF_LOOPBACK


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, default=10_000, help="least number of stages")
    parser.add_argument("--no-op-stages", type=int, default=2_000)
    parser.add_argument(
        "--s3", metavar="URL", help=f"keep the finished sweep in a bucket; {LOOPBACK}: of a server started for it"
    )
    parser.add_argument(
        "--recorded", metavar="STORE", help="simulate a sweep like this store's too, with its durations"
    )
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    options = parser.parse_args(arguments)
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--only {', '.join(sorted(unknown))}: known: {', '.join(PARTS)}")
    print(f"{describe_machine()}\n")
    rows = []
    if "planning" in parts:
        rows += measure_planning(options.stages)
    if "no_op" in parts:
        rows += measure_no_op(options.no_op_stages)
    if "finished" in parts:
        with bucket(options.s3) as url:
            rows += measure_finished(options.stages, url)
    if rows:
        print_table(["scale", "measured", "goal", "peak memory", "goal"], rows)
    if "simulation" in parts:
        recorded = [recorded_sweep(options.recorded, options.stages)] if options.recorded else []
        measure_simulation([*made_up_sweeps(options.stages), *recorded])
    if "barriers" in parts:
        measure_barriers()


if __name__ == "__main__":
    main()
