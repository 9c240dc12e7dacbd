"""Is bfloat16 as accurate as float32? Train in both, and compare final trainings, paired by chain.

    python -m benchmarks.precision --data-root ~/data --store DIR [--chains 8]
    python -m benchmarks.precision --judge     # run nothing: judge the pairs that were measured

ResNet-20 on CIFAR-10 at 16 pixels, all 50,000 training images; the recipe is precision.yaml, and that of bfloat16 has
the fields of --fast. A chain in both takes a quarter of an hour of a core or more, and many are needed, so pairs gather
over sittings and machines: precision.csv holds those that are done, and a run goes on after their last chain.
The stores lie in DIR/float32 and in DIR/bfloat16; the same command continues after an interruption.

Trainings of one chain share all seeds and the machine, so the difference is paired: `analysis.comparisons.statistics`
has its mean and its 95 % t interval, over chains.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pandas as pd

from analysis.comparisons.labels import transfer_name
from analysis.comparisons.measures import ACCURACY
from analysis.comparisons.statistics import difference
from analysis.frames.sections import sections
from analysis.reading import read
from benchmarks.table import print_table
from orchestrator.backends.base import BackendError
from orchestrator.planning.algorithm import expand
from orchestrator.planning.plan import Plan
from orchestrator.recipes.experiment_file import ExperimentRequest
from orchestrator.recipes.experiments import find_experiments
from orchestrator.recipes.layers import read_fast, read_recipe_file
from orchestrator.store import Store, StoreError
from orchestrator.sweep import run
from orchestrator.terminal.options import PlacementOptions
from workers.data import DataError, default_cache
from workers.stages import Precision
from workers.stages.execution import Execution
from workers.terminal.console import Console

RECIPE, MEASURED = (Path(__file__).with_suffix(suffix) for suffix in (".yaml", ".csv"))
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
STARTS = ("retrain", "signed")
MARGIN_POINTS, LEAST_CHAINS = 0.5, 5
PARTNERS = ["round", "method", "transfer", "chain", "seed", "machine"]
COLUMNS = {"chain": "int64", "transfer": "str", "float32": "float64", "bfloat16": "float64", "machine": "str"}


def sweep_chain(precision: Precision, chain: int, store: Path, execution: Execution, console: Console) -> int:
    """Compute one chain in one precision; return the sweep's exit code."""
    layers = (read_recipe_file(RECIPE), read_fast() if precision == "bfloat16" else {}, {"chains": chain})
    experiments = find_experiments(ExperimentRequest(("cifar10",), ("resnet20",), None, layers), execution)
    nodes = {key: node for key, node in expand(experiments).nodes.items() if node.labels.chain == chain}
    return run(Plan(nodes), experiments, Store(store / precision), execution, PlacementOptions("inline"), console)


def measured_pairs(store: Path) -> pd.DataFrame:
    """Pair the tested trainings that both stores have.

    Returns:
        A row per pair, with ``COLUMNS``; accuracies in percent.

    Raises:
        StoreError: there is no store, or none of its stages is done.
    """
    of = {}
    for precision in PRECISIONS:
        _, frames = read([store / precision], tickets=False, done=True)
        trainings = pd.concat([section.trainings for section in sections(frames)])
        trainings["machine"] = trainings["device"] + (", " + trainings["processor"]).fillna("")
        of_starts = trainings[trainings["transfer"].isin(STARTS)]
        of[precision] = of_starts[[*PARTNERS, ACCURACY.column]].rename(columns={ACCURACY.column: precision})
    apart = of["float32"].merge(of["bfloat16"], on=PARTNERS, validate="1:1").dropna()
    return apart[[*COLUMNS]].astype(COLUMNS)


def read_measured(file: Path) -> pd.DataFrame:
    """Return the pairs that a file holds; none if it does not exist."""
    return pd.read_csv(file, dtype=COLUMNS) if file.exists() else pd.DataFrame(columns=[*COLUMNS]).astype(COLUMNS)


def add_measured(file: Path, new: pd.DataFrame) -> None:
    """Add pairs to a file; of a chain that the file has, its first pairs stay."""
    known = read_measured(file)
    new = new[~new["chain"].isin(known["chain"])].sort_values(["chain", "transfer"])
    pd.concat([known, new]).to_csv(file, index=False, float_format="%.2f")


def judged(apart: pd.DataFrame) -> str:
    """Say in one sentence what pairs with a ``difference`` show."""
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


def print_results(measured: pd.DataFrame) -> None:
    """Print a table of pairs and a sentence for each start."""
    apart = measured.assign(difference=measured["bfloat16"] - measured["float32"])
    for start in STARTS:
        of_start = apart[apart["transfer"] == start]
        rows = [
            [
                str(row["chain"]),
                *(f"{row[name]:.2f} %" for name in PRECISIONS),
                f"{row['difference']:+.2f}",
                row["machine"],
            ]
            for row in of_start.to_dict("records")
        ]
        if rows:
            print_table([f"{transfer_name(start)}: chain", *PRECISIONS, "difference", "machine"], rows)
        print(f"{transfer_name(start)}: {judged(of_start)}.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Sweep, unless only to judge, and print the results; return the exit code of a sweep that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="folder of both stores")
    parser.add_argument("--data-root", type=Path, help="folder with cifar10")
    parser.add_argument("--data-cache", type=Path, default=default_cache(), help="folder of decoded data sets")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--chains", type=int, default=8, help="further chains to measure")
    parser.add_argument("--measured", type=Path, default=MEASURED, help="the file of pairs; default: %(default)s")
    parser.add_argument("--judge", action="store_true", help="run nothing: judge the pairs of the file and the store")
    given = parser.parse_args(arguments)
    if given.store is None and not given.judge:
        parser.error("name a folder for both stores with --store, or only judge with --judge")
    root = None if given.data_root is None else str(given.data_root)
    execution = Execution(given.device, root, str(given.data_cache))
    console = Console(stderr=True)  # a sweep's lines are no result: benchmarks.write takes stdout
    first = 1 + max(read_measured(given.measured)["chain"], default=0)
    try:
        for chain in range(first, first + (0 if given.judge else given.chains)):
            for precision in PRECISIONS:
                if code := sweep_chain(precision, chain, given.store, execution, console):
                    return code
            add_measured(given.measured, measured_pairs(given.store))
        if given.judge and given.store is not None:
            add_measured(given.measured, measured_pairs(given.store))
    except (BackendError, DataError, StoreError) as error:
        parser.error(str(error))
    print_results(read_measured(given.measured))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
