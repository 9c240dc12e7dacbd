"""Is bfloat16 as accurate as float32? Sweep one recipe in both, and compare final trainings, paired by chain.

    python -m benchmarks.precision --data-root ~/data --store DIR [--chains 8]
    python -m benchmarks.precision --store DIR --judge     # run nothing: judge the chains that both sweeps have done

ResNet-20 on CIFAR-10 at 16 pixels, all 50,000 training images; the recipe is precision.yaml. The sweeps lie in
DIR/float32 and in DIR/bfloat16, which is the same command with --fast. Both grow by one chain in turn, so that an
interrupted study has pairs; the same command continues it. Chains of one number share all seeds, so the difference is
paired: `analysis.comparisons.statistics` has its mean and its 95 % t interval, over chains.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pandas as pd

from analysis.comparisons.labels import transfer_name
from analysis.comparisons.measures import ACCURACY
from analysis.comparisons.statistics import difference, pairs
from analysis.frames.sections import sections
from analysis.reading import read
from benchmarks.machine import describe_machine
from benchmarks.table import print_table
from orchestrator.store import StoreError
from workers.stages import Precision

RECIPE = Path(__file__).with_suffix(".yaml")
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
STARTS = ("retrain", "signed")
MARGIN_POINTS, LEAST_CHAINS = 0.5, 5
BY, PARTNERS = ("round", "method", "transfer"), ("chain", "seed")


def sweep_command(precision: Precision, chains: int, store: Path, options: Sequence[str]) -> list[str]:
    """Return the command of the sweep in one precision, with this many chains."""
    sweep = ["-m", "orchestrator.sweep", "--datasets", "cifar10", "--archs", "resnet20", "--recipe", str(RECIPE)]
    fast = ["--fast"] if precision == "bfloat16" else []
    place = ["--backend", "inline", "--store", str(store / precision)]
    return [sys.executable, *sweep, *fast, "--chains", str(chains), *place, *options]


def trainings(store: Path) -> pd.DataFrame:
    """Return the tested trainings of a sweep: one row each.

    Raises:
        StoreError: there is no store, or none of its stages is done.
    """
    _, frames = read([store], tickets=False, done=True)
    return pd.concat([section.trainings for section in sections(frames)])


def paired(of: dict[Precision, pd.DataFrame], start: str) -> pd.DataFrame:
    """Pair the trainings from a start that both precisions have.

    Returns:
        A row per pair: ``chain``, ``seed``, a column per precision (percent), ``difference`` in points.
    """
    rows = {precision: table[table["transfer"] == start] for precision, table in of.items()}
    apart = pairs(rows["bfloat16"], rows["float32"], ACCURACY.column, BY, PARTNERS)
    for precision, table in rows.items():
        column = table[[*BY, *PARTNERS, ACCURACY.column]].rename(columns={ACCURACY.column: precision})
        apart = apart.merge(column, on=[*BY, *PARTNERS])
    return apart.sort_values([*PARTNERS])


def judged(apart: pd.DataFrame) -> str:
    """Say in one sentence what the pairs show."""
    if apart.empty:
        return "no pair is done"
    found = difference(apart)
    low, high = found.interval()
    sentence = f"bfloat16 - float32: {found.mean:+.2f} points"
    if found.chains < 2:
        return f"{sentence}, of one chain: no interval"
    sentence += f", 95 % interval {low:+.2f} to {high:+.2f}, {found.chains} chains"
    if found.chains < LEAST_CHAINS:
        return f"{sentence}: not judged before {LEAST_CHAINS} chains"
    within = low >= -MARGIN_POINTS and high <= MARGIN_POINTS
    return f"{sentence}: {'within' if within else 'not shown to be within'} {MARGIN_POINTS} points"


def print_results(of: dict[Precision, pd.DataFrame]) -> None:
    """Print a table of pairs and a sentence for each start."""
    for start in STARTS:
        apart = paired(of, start)
        rows = [
            [str(row["chain"]), *(f"{row[name]:.2f} %" for name in PRECISIONS), f"{row['difference']:+.2f}"]
            for row in apart.to_dict("records")
        ]
        if rows:
            print_table([f"{transfer_name(start)}: chain", *PRECISIONS, "difference"], rows)
        print(f"{transfer_name(start)}: {judged(apart)}.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Sweep, unless only to judge, and print the results; return the exit code of a sweep that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="folder of both sweeps")
    parser.add_argument("--data-root", type=Path, help="folder with cifar10")
    parser.add_argument("--data-cache", type=Path, help="folder of decoded data sets")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--chains", type=int, default=8)
    parser.add_argument("--judge", action="store_true", help="run nothing: judge what is done")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe of both")
    given = parser.parse_args(arguments)
    options = ["--device", given.device]
    for name, value in (("--data-root", given.data_root), ("--data-cache", given.data_cache)):
        options += [] if value is None else [name, str(value)]
    options += [word for setting in given.set for word in ("--set", setting)]
    for chains in range(1, 1 + (0 if given.judge else given.chains)):
        for precision in PRECISIONS:
            # their lines are no result: benchmarks.write takes stdout
            done = subprocess.run(
                sweep_command(precision, chains, given.store, options), stdout=sys.stderr, check=False
            )
            if done.returncode:
                return done.returncode
    try:
        of = {precision: trainings(given.store / precision) for precision in PRECISIONS}
    except StoreError as error:
        parser.error(str(error))
    print(describe_machine())
    print_results(of)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
