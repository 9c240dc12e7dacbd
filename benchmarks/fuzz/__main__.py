"""Fuzz a small real store: mutate its files, run every command, and judge each.

    python -m benchmarks.fuzz --trials 100 --seed 0
    python -m benchmarks.fuzz --only 17 --keep /tmp/trial-17
    python -m benchmarks.fuzz --command-lines --trials 1000

Trial number n has the seed SEED + n, and mutates one to three files of a copy of the store, or of the tickets, the data
cache, the recipe or the published results beside it: bytes, fields, columns, sizes, links, pipes, names, modes. Half of
the mutations keep a file's form, and half of these renew the digests, as somebody can who may write in the store. Then
every reading command runs, the sweep runs again, and verify and once more the sweep if it did not finish.

A trial fails on an exit code that docs/commands.md lacks, a traceback or warning, more than 1 GiB of memory or 60 s,
something read, written or removed outside, a program started, and results that differ from an undisturbed sweep's
although the sweep says that it finished. The exit code is 1 if a trial failed.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.fuzz.command_lines import run_lines
from benchmarks.fuzz.trial import Result, run_trial
from benchmarks.fuzz.warm import import_commands
from benchmarks.fuzz.world import KINDS, World
from benchmarks.machine import describe_machine
from benchmarks.table import print_table
from workers.terminal.console import visible


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials and print their table; return 1 if one failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first trial")
    parser.add_argument("--only", type=int, metavar="SEED", help="run the trial of this seed alone")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="a new folder for the files of failed trials")
    parser.add_argument("--command-lines", action="store_true", help="mutate command lines instead of files")
    given = parser.parse_args(arguments)
    if given.command_lines and given.only is not None:
        parser.error("--only takes the seed of one trial; of command lines, run the printed line itself")
    if given.keep and given.keep.exists():
        parser.error(f"--keep {given.keep} exists; give a new folder")
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell in the background ignores Ctrl-C
        signal.signal(number, signal.default_int_handler)
    seeds = range(given.seed, given.seed + given.trials) if given.only is None else [given.only]
    print(describe_machine(), flush=True)
    with ExitStack() as stack:
        kept = given.keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="fuzz-"))
        folder = Path(kept).absolute()
        folder.mkdir(exist_ok=True, parents=True)
        if given.command_lines:
            import_commands()
            return int(run_lines(given.trials, given.seed, folder) > 0)
        began = time.monotonic()
        world = World.make(folder / "made")
        print(f"the store and the tickets were made in {time.monotonic() - began:.0f} s\n", flush=True)
        results = run_trials(world, seeds, folder, keep=given.keep is not None)
        print_results(results)
        failed = sum(bool(result.problems) for result in results)
        print(f"{len(results)} trials in {time.monotonic() - began:.0f} s, seeds from {seeds[0]}: {failed} failed")
    return int(failed > 0 or len(results) < len(seeds))


def run_trials(world: World, seeds: Sequence[int], folder: Path, *, keep: bool) -> list[Result]:
    """Run trials one after another, and print each that failed; after Ctrl-C return those so far."""
    results: list[Result] = []
    try:
        for seed in seeds:
            place = folder / f"trial-{seed}"
            result = run_trial(world, seed, place)
            results.append(result)
            if not keep:
                shutil.rmtree(place, ignore_errors=True)
            if result.problems:
                print_failure(result)
            elif len(results) % 50 == 0:
                print(f"{len(results)} of {len(seeds)} trials", flush=True)
    except KeyboardInterrupt:
        print(f"interrupted: {len(seeds) - len(results)} trials did not run")
    return results


def print_failure(result: Result) -> None:
    """Print what a failed trial did, and what is wrong."""
    lines = [f"trial {result.seed} FAILED, {result.kind}, the sweep finished {result.finished}"]
    text = "\n    ".join([*lines, *result.said, *result.problems])
    print(visible(text.encode(errors="replace").decode()), flush=True)


def print_results(results: Sequence[Result]) -> None:
    """Print a row per kind of file, and a row of totals."""
    ends = ["finished", "after verify", "not"]
    header = ["kind of file", "trials", "failed", *ends, "most memory", "longest command", "per trial"]
    by_kind = {kind: [result for result in results if result.kind == kind] for kind in KINDS}
    rows = [_row(kind, found) for kind, found in by_kind.items() if found]
    print()
    print_table(header, [*rows, _row("all", results)])


def _row(name: str, results: Sequence[Result]) -> list[str]:
    ends = Counter(result.finished for result in results)
    return [
        name,
        str(len(results)),
        str(sum(bool(result.problems) for result in results)),
        *(str(ends[end]) for end in ("at once", "after verify", "not")),
        f"{max((result.most_bytes for result in results), default=0) / (1 << 20):.0f} MiB",
        f"{max((result.longest_s for result in results), default=0):.1f} s",
        f"{sum(result.seconds for result in results) / max(1, len(results)):.1f} s",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
