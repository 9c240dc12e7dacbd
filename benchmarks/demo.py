"""Run the demo, and print where its time goes.

    python -m benchmarks.demo [--store STORE]

The first table is the clock's: what comes before the first stage, the stages, what comes after the last one. The second
has what the cores did while stages ran. The work of a stage is its epochs or the points of its path; the rest of it
opens the data, builds the network, and reads and writes files. A core without a stage waits for the next one: its last
is being committed, or only other cores have work left. Everything comes from the store's events and records.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.machine import describe_machine
from benchmarks.table import print_table
from orchestrator.store import Store
from orchestrator.store.events import read_events
from workers.devices.cores import usable_cores
from workers.storage import schemas

DEMO = ("orchestrator.sweep", "--datasets", "mnist1d", "--seeds", "3")


@dataclass(frozen=True)
class Ran:
    """A sweep that ran: its store, its first and last second on the clock, and the cores for its stages."""

    store: Store
    began_unix_s: float
    ended_unix_s: float
    cores: int


def run_demo(folder: Path) -> Ran:
    """Run the demo into a new store.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    began = time.time()
    command = [sys.executable, "-m", *DEMO, "--store", str(folder)]
    subprocess.run(command, stdout=sys.stderr, check=True)
    return Ran(Store(str(folder)), began, time.time(), usable_cores())


def print_parts(ran: Ran) -> None:
    """Print both tables."""
    events = list(read_events(ran.store.storage))
    first = min(event["time_unix_s"] for event in events if event["event"] == "started")
    last = max(event["time_unix_s"] for event in events if event["event"] == "done")
    clock = {
        "before the first stage: imports, plan, Ray's start": first - ran.began_unix_s,
        "stages": last - first,
        "after the last stage: the report": ran.ended_unix_s - last,
    }
    _print_shares("the demo", clock, "s", ran.ended_unix_s - ran.began_unix_s)
    core_s, rest_s = (last - first) * ran.cores, 0.0
    parts: dict[str, float] = defaultdict(float)
    for record in ran.store.records().values():
        table = pa.BufferReader(ran.store.storage.read(f"{ran.store.out(record.key)}/{schemas.TIMING}"))
        work_s = sum(pq.read_table(table).column("seconds").to_pylist())
        parts[f"the work of {record.kind} stages"] += work_s
        rest_s += record.seconds - work_s
    parts["the rest of all stages: data, network, files"] = rest_s
    parts["no stage on a core"] = core_s - sum(parts.values())
    _print_shares(f"{ran.cores} cores, from the first stage to the last", parts, "core-s", core_s)


def _print_shares(title: str, parts: dict[str, float], unit: str, total: float) -> None:
    rows = [(part, f"{value:.1f} {unit}", f"{value / total:.1%}") for part, value in parts.items()]
    print_table((title, "time", "share"), [*rows, ("all", f"{total:.1f} {unit}", "100.0%")])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, help="a new folder for the demo's store, which stays")
    options = parser.parse_args(arguments)
    if options.store and options.store.exists():
        parser.error(f"--store {options.store} exists; name a new folder, so that every stage runs")
    print(describe_machine(), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        print_parts(run_demo(options.store or Path(scratch) / "sweeps"))


if __name__ == "__main__":
    main()
