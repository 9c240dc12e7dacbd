"""Inject faults into small sweeps at seeded moments; each must give the bits of an undisturbed sweep.

    python -m benchmarks.faults --trials 200 --seed 0
    python -m benchmarks.faults --faults worker,node,gcs --trials 6 --jobs 1

A fault's moment is drawn as a share of the undisturbed sweep's training batches. "work lost" counts batches computed
again: a trial fails if a kill costs more than one checkpoint interval. Trials without Ray run beside the others.
--keep names a folder for the files of failed trials.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.faults.cluster import set_environment
from benchmarks.faults.registry import CHECKS, FAULTS, schedule
from benchmarks.faults.trial import Result, open_bench, run_trials
from benchmarks.machine import describe_machine
from benchmarks.table import print_table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials and print their table; return 1 if a trial failed or a result changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=len(FAULTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", help=f"some of {','.join(FAULTS)}")
    cores = os.cpu_count() or 1
    parser.add_argument("--jobs", type=int, default=max(1, cores // 2), help="number of concurrent trials without Ray")
    parser.add_argument("--keep", type=Path, help="an empty folder for the files of failed trials")
    given = parser.parse_args(arguments)
    names = given.faults.split(",") if given.faults else list(FAULTS)
    if unknown := set(names) - FAULTS.keys():
        parser.error(f"no {', '.join(sorted(unknown))} here; choose from {', '.join(FAULTS)}")
    set_environment()
    for need, (possible, otherwise) in CHECKS.items():
        impossible = [name for name in names if FAULTS[name].needs == need]
        if impossible and not possible():
            print(f"left out, because this machine {otherwise}: {', '.join(impossible)}")
            names = [name for name in names if name not in impossible]
    print(describe_machine())
    began = time.monotonic()
    with open_bench(given.keep.absolute() if given.keep else None) as bench:
        print(f"the undisturbed sweep: {len(bench.reference.records)} stages, {bench.reference.batches} batches\n")
        trials = schedule(names, given.trials, given.seed)
        results = run_trials(
            bench,
            trials,
            given.jobs,
            # no result: benchmarks.write takes stdout
            lambda count, result: print(f"[{count}/{len(trials)}] {describe(result)}", file=sys.stderr, flush=True),
        )
    print()
    print_results(results)
    print(f"{len(results)} trials in {time.monotonic() - began:.0f} s, seed {given.seed}")
    print(f"{sum(result.restarts for result in results)} times a cluster did not start and its trial was repeated")
    if len(results) < len(trials):
        print(f"interrupted: {len(trials) - len(results)} of {len(trials)} trials did not run")
        return 1
    return int(any(result.verdict is None or result.verdict.changed for result in results))


def describe(result: Result) -> str:
    """Describe a result in one line."""
    head = f"{result.fault}, seed {result.seed}, {result.seconds:.1f} s: {result.injected} injected"
    if result.verdict is None:
        return f"{head}, NOT SURVIVED: {result.problem}"
    if result.verdict.changed:
        return f"{head}, CHANGED: {'; '.join(result.verdict.changed)}"
    return f"{head}, {result.verdict.again} batches again"


def print_results(results: Sequence[Result]) -> None:
    """Print a row per fault and a row of totals."""
    groups = {name: [result for result in results if result.fault == name] for name in FAULTS}
    rows = [_row(f"{name}: {FAULTS[name].about}", found) for name, found in groups.items() if found]
    header = ["fault", "trials", "injected", "survived", "work lost", "most in a trial", "results changed", "per trial"]
    print_table(header, [*rows, _row("all", results)])


def _row(name: str, results: Sequence[Result]) -> list[str]:
    lost = [result.verdict.lost_s for result in results if result.verdict]
    return [
        name,
        str(len(results)),
        str(sum(result.injected for result in results)),
        str(sum(result.verdict is not None for result in results)),
        f"{sum(lost):.1f} s",
        f"{max(lost, default=0):.1f} s",
        str(sum(bool(result.verdict and result.verdict.changed) for result in results)),
        f"{sum(result.seconds for result in results) / max(1, len(results)):.1f} s",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
